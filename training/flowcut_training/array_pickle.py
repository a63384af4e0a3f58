"""detectron2's old weights, pickles of numpy arrays, read without running anything that is in them."""

from __future__ import annotations

import codecs
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from flowcut_napari.core.errors import WeightsError


def read_arrays(path: Path) -> dict[str, Tensor]:
    """Read the named arrays of a detectron2 ``.pkl``, of its ``model`` if it has one.

    Raises
    ------
    WeightsError
        If the file is damaged or holds anything but dictionaries, texts and arrays of numbers.
    """
    try:
        with path.open("rb") as stream:
            # Files of Python 2 hold their arrays as texts of that encoding.
            content = _ArraysOnly(stream, encoding="latin1").load()
    except _RefusedError as error:
        raise WeightsError(f"{path}: refused, it is no pickle of arrays alone ({str(error)[:120]})") from None
    except Exception as error:  # noqa: BLE001  # a damaged pickle can raise whatever building an array can
        raise WeightsError(f"{path}: no weights file, or a damaged one ({str(error)[:120]})") from None
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    tensors = {}
    for name, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(name, str) and isinstance(value, np.ndarray):
            if value.dtype.kind not in "fiub":
                raise WeightsError(f"{path}: holds no plain numbers in {name[:120]}")
            tensors[name] = torch.from_numpy(np.array(value))
    if not tensors:
        raise WeightsError(f"{path}: holds no named arrays")
    return tensors


class _RefusedError(Exception):
    """A pickle wants more than arrays."""


class _ArraysOnly(pickle.Unpickler):
    """Builds dictionaries of numpy arrays and nothing else: every other class or function is refused."""

    _ALLOWED: ClassVar[dict[tuple[str, str], Any]] = {
        ("collections", "OrderedDict"): OrderedDict,
        **{
            (module, name): value
            for module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
            for name, value in (
                ("ndarray", np.ndarray),
                ("dtype", np.dtype),
                ("_reconstruct", np.ndarray.__reduce__(np.empty(0))[0]),
            )
        },
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the few things that an array is made of."""
        if (module, name) == ("_codecs", "encode"):  # how protocol 2 writes bytes
            return _latin1
        try:
            return self._ALLOWED[module, name]
        except KeyError:
            raise _RefusedError(f"it asks for {module}.{name}") from None


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise _RefusedError(f"bytes in {encoding}")
    return codecs.encode(text, "latin1")
