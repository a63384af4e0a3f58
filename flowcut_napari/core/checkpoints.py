"""Reading weights files into models, whoever wrote them: nothing is ever unpickled but tensors."""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcut_napari.core.errors import WeightsError

if TYPE_CHECKING:
    import torch

    from flowcut_napari.core.weights import WeightsFile


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read tensors as `read_tensors` does, and take the prefixes ``module.`` and ``backbone.`` off their names.

    Raises
    ------
    WeightsError
        As `read_tensors`.
    """
    return {re.sub(r"^(module\.)?(backbone\.)?", "", key): value for key, value in read_tensors(path).items()}


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a ``.safetensors`` or PyTorch file without running anything that is in it.

    A checkpoint that wraps its model (``model``, ``state_dict``, DINO's ``teacher``) is unwrapped; names stay as they
    are.

    Raises
    ------
    WeightsError
        If the file is damaged, holds code, or holds no tensors.
    """
    import torch

    content: Any
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content = load_file(path)
        else:
            # DINO's full checkpoint carries its command-line arguments, which are plain values.
            with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of formats that are refused below
                content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if any(word in str(error) for word in ("nsupported", "GLOBAL", "TorchScript")):
            raise WeightsError(f"{path}: refused, the file holds code or objects besides tensors") from None
        raise WeightsError(f"{path}: no weights file, or a damaged one") from None
    except Exception as error:  # noqa: BLE001  # every reader has its own way to say that bytes are wrong
        raise WeightsError(f"{path}: no weights file, or a damaged one ({_brief(error)})") from None
    for wrapper in ("teacher", "model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    entries = content.items() if isinstance(content, dict) else ()
    tensors = {key: value for key, value in entries if isinstance(key, str) and isinstance(value, torch.Tensor)}
    if not tensors:
        raise WeightsError(f"{path}: holds no named tensors")
    unusable = [key for key, value in tensors.items() if value.is_meta or value.is_complex() or value.is_sparse]
    if unusable:
        raise WeightsError(f"{path}: holds no plain numbers in {unusable[0]}")
    return tensors


def load_into(model: torch.nn.Module, weights: WeightsFile, tensors: Mapping[str, torch.Tensor] | None = None) -> None:
    """Load weights into a model of exactly that architecture.

    Parameters
    ----------
    model : torch.nn.Module
        Filled in place.
    weights : WeightsFile
        Read if `tensors` is not given, and named in errors.
    tensors : mapping of str to tensor, optional
        The tensors, where the caller has renamed some.

    Raises
    ------
    WeightsError
        If a tensor is missing, left over, of another shape, or not finite.
    """
    tensors = read_state_dict(weights.path) if tensors is None else tensors
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in tensors and not key.endswith("num_batches_tracked")]
    surplus = [key for key in tensors if key not in wanted]
    shapes = [key for key in wanted if key in tensors and tensors[key].shape != wanted[key].shape]
    for count, what in ((missing, "missing"), (surplus, "unknown"), (shapes, "of another shape")):
        if count:
            raise WeightsError(
                f"{weights.path}: no weights of {weights.name}: {len(count)} of its tensors {what}, first {count[0]}"
            )
    broken = [key for key, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise WeightsError(f"{weights.path}: holds NaN or infinite values, first in {broken[0]}")
    model.load_state_dict(dict(tensors))


def _brief(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
