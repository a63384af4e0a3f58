"""Where pretrained weights come from: a named path, the folder FLOWCUT_WEIGHTS, the cache, then the network.

A name is that of a feature or flow model: ``dino``, ``raft-large``, ``raft-small``, or any timm model name. Files are
identified by their SHA-256, which goes into the provenance of everything they make.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flowcut_napari.core.cache import cache_root, expand_home
from flowcut_napari.core.errors import InputError, MissingWeightsError, WeightsError
from flowcut_napari.core.files import write_atomically

DINO_TIMM_NAME = "vit_small_patch16_224.dino"
# Files as their authors publish them; those of torchvision end in the start of their SHA-256.
PUBLISHED_FILES: dict[str, tuple[str, ...]] = {
    "dino": (
        "dino_deitsmall16_pretrain.pth",
        "dino_deitsmall16_pretrain_full_checkpoint.pth",
        f"{DINO_TIMM_NAME}.safetensors",
    ),
    "raft-large": ("raft_large_C_T_V2-1bb1363a.pth",),
    "raft-small": ("raft_small_C_T_V2-01064c6d.pth",),
}
# What training may start from; nobody fetches them, because they come with terms of their own.
TRAINING_FILES: dict[str, tuple[str, ...]] = {
    "cutler": ("cutler_m2f_rn50.pth",),
    "dino-resnet50": ("dino_resnet50_pretrain.pth",),
}
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
_PROBE_SECONDS = 8.0
WEIGHTLESS = ("handmade", "dis")


@dataclass(frozen=True)
class WeightsFile:
    """A weights file that was found: the name it stands for, where it is, its SHA-256."""

    name: str
    path: Path
    sha256: str


def weights_folder() -> Path | None:
    """Return the folder that FLOWCUT_WEIGHTS names, or None."""
    value = os.environ.get("FLOWCUT_WEIGHTS")
    return expand_home(value) if value else None


def fetched_folder() -> Path:
    """Return the folder that fetched weights are kept in."""
    return cache_root() / "weights"


def file_names(name: str) -> list[str]:
    """Return the file names under which the weights `name` are looked for, best first."""
    stems = dict.fromkeys([name, name.replace("-", "_")])
    published = (PUBLISHED_FILES | TRAINING_FILES).get(name, ())
    return [*published, *(stem + suffix for stem in stems for suffix in _SUFFIXES)]


def find_weights(
    names: Sequence[str], given: Mapping[str, Path] | None = None, *, fetch: bool = True
) -> dict[str, WeightsFile]:
    """Find the weights of all `names`, fetching what is nowhere to be found.

    Parameters
    ----------
    names : sequence of str
        Model names; those that need no weights (``handmade``, ``dis``) are passed over.
    given : mapping of str to path, optional
        Paths by name; they win over every other place.
    fetch : bool
        Whether the network may be asked.

    Raises
    ------
    MissingWeightsError
        Naming every file that is missing, where it was looked for, and the two ways out.
    """
    given = dict(given or {})
    found: dict[str, WeightsFile] = {}
    missing: list[str] = []
    reason = ""
    for name in dict.fromkeys(names):
        if name in WEIGHTLESS:
            continue
        path = locate_weights(name, given)
        if path is None and fetch and not reason:  # one failed fetch is enough to know there is no network
            try:
                path = fetch_weights(name)
            except WeightsError as error:
                reason = str(error)
        if path is None:
            missing.append(name)
        else:
            found[name] = WeightsFile(name, path, sha256_of(path))
    if missing:
        raise MissingWeightsError(_missing_message(missing, reason), tuple(missing))
    return found


def locate_weights(name: str, given: Mapping[str, Path]) -> Path | None:
    """Return the file of the weights `name`, or None: a given one, or one in FLOWCUT_WEIGHTS or the cache.

    Raises
    ------
    WeightsError
        If a file was given that is not there.
    """
    if name in given:
        path = expand_home(given[name])
        if not path.is_file():
            raise WeightsError(f"{path}: no such file; it was given as the weights {name}")
        return path
    for folder in (weights_folder(), fetched_folder()):
        for file in file_names(name):
            if folder is not None and (folder / file).is_file():
                return folder / file
    return None


def _missing_message(missing: Sequence[str], reason: str) -> str:
    files = "; ".join(f"{name} ({file_names(name)[0]})" for name in missing)
    folder = weights_folder()
    places = f"FLOWCUT_WEIGHTS ({folder or 'not set'}) and {fetched_folder()}"
    why = f", and fetching failed: {reason}" if reason else ""
    return (
        f"missing weights: {files}; looked in {places}{why}. "
        f"Give the file with --weights {missing[0]}=PATH, or work without a download: --preset handmade"
    )


def fetch_weights(name: str) -> Path:
    """Download the weights `name` into the cache with a progress bar and return their path.

    RAFT comes from where torchvision publishes it (its hash is checked), vision transformers through timm.

    Raises
    ------
    WeightsError
        If there is no such model or the network cannot be reached.
    """
    if name in WEIGHTLESS:
        raise WeightsError(f"{name} needs no weights")
    folder = fetched_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be made ({error.strerror}); give FLOWCUT_CACHE another folder") from None
    path = _fetch_raft(name, folder) if name.startswith("raft-") else _fetch_timm(name, folder)
    record = {"name": name, "sha256": sha256_of(path), "fetched": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    write_atomically(path.with_name(path.name + ".json"), json.dumps(record, indent=1))
    return path


def _fetch_raft(name: str, folder: Path) -> Path:
    from torch.hub import download_url_to_file
    from torchvision.models import optical_flow

    published: dict[str, str] = {
        "raft-large": optical_flow.Raft_Large_Weights.C_T_V2.url,
        "raft-small": optical_flow.Raft_Small_Weights.C_T_V2.url,
    }
    if name not in published:
        raise InputError(f"unknown flow model {name!r}: choose one of {', '.join(published)}, dis")
    path = folder / PUBLISHED_FILES[name][0]
    try:
        _check_reachable(published[name])
        download_url_to_file(
            published[name], str(path), hash_prefix=_hash_in_name(path.name), progress=sys.stderr.isatty()
        )
    except (OSError, RuntimeError) as error:  # no network; a hash that does not fit
        raise WeightsError(f"{path.name} could not be fetched ({_brief(error)})") from None
    return path


def _fetch_timm(name: str, folder: Path) -> Path:
    import timm
    from huggingface_hub import constants, try_to_load_from_cache
    from safetensors.torch import save_file

    model_name = DINO_TIMM_NAME if name == "dino" else name
    if not timm.is_model(model_name.split(".")[0]):
        raise InputError(f"unknown feature model {name!r}: give dino, handmade or a timm model name")
    path = folder / f"{model_name}.safetensors"
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        published = timm.get_pretrained_cfg(model_name)
        hub_id = published.hf_hub_id if published else None

        def published_file() -> str | None:
            found = try_to_load_from_cache(hub_id, "model.safetensors") if hub_id else None
            return found if isinstance(found, str) else None

        model = None
        if published_file() is None:  # else another program fetched it: no network needed
            _check_reachable(constants.ENDPOINT)
            # timm knows where and in which form each model is published.
            model = timm.create_model(model_name, pretrained=True, num_classes=0)
        if original := published_file():  # the published bytes, so that their hash is the same for everybody
            shutil.copyfile(original, partial)
        elif model is not None:  # published in another format
            save_file({key: value.contiguous() for key, value in model.state_dict().items()}, partial)
        os.replace(partial, path)
    except Exception as error:  # noqa: BLE001  # hub clients raise their own families, which change between releases
        raise WeightsError(f"{model_name} could not be fetched ({_brief(error)})") from None
    finally:
        partial.unlink(missing_ok=True)
    return path


def _check_reachable(url: str) -> None:
    """Raise OSError within seconds where there is no network; hub clients repeat for a minute before they say so."""
    request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "flowcut"})
    with contextlib.suppress(urllib.error.HTTPError):  # something answered
        urllib.request.urlopen(request, timeout=_PROBE_SECONDS).close()


def verify_weights(path: Path) -> tuple[bool, str]:
    """Compare a weights file with the hash it was fetched with or that its name states.

    Returns
    -------
    (ok, remark)
        `ok` is False for a file that changed; the remark says what it was compared with.
    """
    actual = sha256_of(path)
    record = path.with_name(path.name + ".json")
    stated = _hash_in_name(path.name)
    if record.is_file():
        try:
            expected = str(json.loads(record.read_text())["sha256"])
        except (ValueError, KeyError, TypeError):
            return False, f"its record {record.name} is damaged"
        return actual == expected, "as fetched" if actual == expected else "changed since it was fetched"
    if stated:
        same = actual.startswith(stated)
        return same, "as published" if same else "differs from the hash in its name"
    return True, "nothing to compare with"


def _hash_in_name(file_name: str) -> str | None:
    match = re.search(r"-([0-9a-f]{8,64})\.", file_name)
    return match[1] if match else None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _brief(error: BaseException) -> str:
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError):
        return error.reason.strerror or str(error.reason)
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
