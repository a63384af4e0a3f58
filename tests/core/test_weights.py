from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import data_path

from flowcut_napari.core import InputError, WeightsError
from flowcut_napari.core import weights as weights_module
from flowcut_napari.core.flow import RaftFlow
from flowcut_napari.core.weights import (
    WeightsFile,
    fetch_weights,
    fetched_folder,
    find_weights,
    sha256_of,
    verify_weights,
)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server on this machine that publishes raft-small; gives the file that it serves."""
    torch = pytest.importorskip("torch")
    folder = tmp_path / "published"
    folder.mkdir()
    draft = folder / "draft.pth"
    torch.save({"weight": torch.zeros(3)}, draft)
    file = draft.rename(folder / f"raft_small-{sha256_of(draft)[:8]}.pth")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/{file.name}"
    monkeypatch.setattr(
        "torchvision.models.optical_flow.Raft_Small_Weights", SimpleNamespace(C_T_V2=SimpleNamespace(url=url))
    )
    monkeypatch.setattr(
        weights_module, "PUBLISHED_FILES", {**weights_module.PUBLISHED_FILES, "raft-small": (file.name,)}
    )
    for variable in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    yield file
    server.shutdown()


def test_fetched_weights_are_kept_recorded_and_found_again(published: Path) -> None:
    found = find_weights(["raft-small"])["raft-small"]
    assert found.path == fetched_folder() / published.name
    assert found.sha256 == sha256_of(published)
    record = json.loads((fetched_folder() / f"{published.name}.json").read_text())
    assert record["sha256"] == found.sha256
    published.unlink()  # from now on the network has nothing
    assert find_weights(["raft-small"])["raft-small"] == found
    assert verify_weights(found.path) == (True, "as fetched")
    found.path.write_bytes(b"changed")
    assert verify_weights(found.path) == (False, "changed since it was fetched")


def test_a_download_that_is_not_what_was_published_is_refused_and_not_kept(published: Path) -> None:
    published.write_bytes(b"something else")
    with pytest.raises(WeightsError, match=r"could not be fetched .*hash"):
        fetch_weights("raft-small")
    assert list(fetched_folder().iterdir()) == []


def test_a_given_path_wins_over_the_folder_and_the_folder_over_the_cache(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = find_weights(["raft-small"])["raft-small"].path
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.setenv("FLOWCUT_WEIGHTS", str(folder))
    assert find_weights(["raft-small"])["raft-small"].path == fetched
    (folder / "raft_small.pth").write_bytes(b"mine")
    assert find_weights(["raft-small"])["raft-small"].path == folder / "raft_small.pth"
    given = tmp_path / "given.pth"
    given.write_bytes(b"given")
    found = find_weights(["raft-small"], {"raft-small": given})["raft-small"]
    assert (found.path, found.sha256) == (given, hashlib.sha256(b"given").hexdigest())


def test_official_file_names_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWCUT_WEIGHTS", str(tmp_path))
    for name, file in (("dino", "dino_deitsmall16_pretrain.pth"), ("raft-large", "raft_large_C_T_V2-1bb1363a.pth")):
        (tmp_path / file).write_bytes(b"x")
        assert find_weights([name], fetch=False)[name].path.name == file
    assert verify_weights(tmp_path / "raft_large_C_T_V2-1bb1363a.pth") == (False, "differs from the hash in its name")


def test_what_is_missing_names_all_files_all_places_and_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError) as caught:
        find_weights(["dino", "raft-large", "handmade", "dis"], fetch=False)
    text = str(caught.value)
    assert "\n" not in text
    for part in ("dino (dino_deitsmall16_pretrain.pth)", "raft-large (raft_large_C_T_V2-1bb1363a.pth)"):
        assert part in text
    for part in ("FLOWCUT_WEIGHTS (not set)", str(fetched_folder()), "--weights dino=PATH", "--preset handmade"):
        assert part in text


def test_a_file_that_another_program_fetched_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = tmp_path / "model.safetensors"
    original.write_bytes(b"published bytes")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(original))
    path = fetch_weights("dino")
    assert path.read_bytes() == original.read_bytes()
    assert find_weights(["dino"], fetch=False)["dino"].path == path


def test_names_that_no_model_has_are_refused() -> None:
    with pytest.raises(InputError, match="unknown feature model 'resnet_of_dreams'"):
        fetch_weights("resnet_of_dreams")
    with pytest.raises(InputError, match="unknown flow model 'raft-huge'"):
        fetch_weights("raft-huge")


def test_raft_large_loads_and_runs_from_a_file_of_its_own(tmp_path: Path, random: np.random.Generator) -> None:
    import torch
    from torchvision.models.optical_flow import raft_large

    torch.manual_seed(0)
    path = tmp_path / "raft_large.pth"
    torch.save(raft_large().state_dict(), path)
    model = RaftFlow("raft-large", WeightsFile("raft-large", path, sha256_of(path)), updates=2)
    pair = tuple(random.integers(0, 255, (130, 150, 3), dtype=np.uint8) for _ in range(2))
    (flow,) = model.estimate([pair])  # type: ignore[list-item]
    assert flow.shape == (130, 150, 2)
    assert np.isfinite(flow).all()
    small = data_path("weights", "raft_small.pth")
    with pytest.raises(WeightsError, match="no weights of raft-large"):
        RaftFlow("raft-large", WeightsFile("raft-large", small, sha256_of(small)))
