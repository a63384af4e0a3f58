"""Which models a run needs, where they run, and what its results owe their numbers to."""

from __future__ import annotations

import platform
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import flowcut_napari
from flowcut_napari.core.cache import ArrayCache
from flowcut_napari.core.description import FrameDescriber
from flowcut_napari.core.errors import InputError
from flowcut_napari.core.features import FeatureModel, HandmadeFeatures, TransformerFeatures, check_transformer
from flowcut_napari.core.flow import DisFlow, FlowModel, RaftFlow
from flowcut_napari.core.parameters import CutParameters
from flowcut_napari.core.refine import crf_is_available
from flowcut_napari.core.weights import PUBLISHED_FILES, WEIGHTLESS, WeightsFile, find_weights

# Frames that go through the models at once on a GPU.
GPU_BATCH = 8
_PACKAGES = ("numpy", "scipy", "opencv-python-headless", "pillow", "torch", "torchvision", "timm", "pydensecrf2")


def resolve_device(device: str) -> str:
    """Return a usable torch device: ``auto`` is CUDA if there is one, else the CPU.

    Raises
    ------
    InputError
        If the device is unknown or not there.
    """
    if device == "cpu":
        return device
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    if device == "cuda" or (kind == "cuda" and number.isdecimal() and number.isascii()):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            raise InputError(f"device {device} is not there: this machine has {count} CUDA device(s); try --device cpu")
        return device
    if device == "mps":
        if not torch.backends.mps.is_available():
            raise InputError("device mps is not there on this machine; try --device cpu")
        return device
    raise InputError(f"unknown device {device!r}: give auto, cpu, cuda, cuda:N or mps")


@dataclass(frozen=True)
class ModelPlan:
    """Which models to build, with what; it travels to worker processes."""

    parameters: CutParameters
    weights: Mapping[str, WeightsFile]
    device: str
    cache: ArrayCache | None

    @classmethod
    def make(
        cls,
        parameters: CutParameters,
        weights: Mapping[str, Path] | None = None,
        device: str = "auto",
        cache: ArrayCache | None = None,
        *,
        fetch: bool = True,
    ) -> ModelPlan:
        """Find weights and device; without `fetch` the network is not asked for weights.

        Raises
        ------
        WeightsError
            If weights are missing.
        InputError
            If the device is not there, or a path was given for a model that is not used.
        """
        names = [parameters.features, parameters.flow] if parameters.uses_flow else [parameters.features]
        # At alpha 1 the flow model is not used, but weights given for it are no mistake: alpha is what one varies.
        takers = [name for name in (parameters.features, parameters.flow) if name not in WEIGHTLESS]
        unknown = sorted(set(weights or {}) - set(takers))
        if unknown:
            named = " and ".join(takers) or f"none ({parameters.features} and {parameters.flow} need none)"
            raise InputError(f"weights given for {unknown[0]}, but the models that take weights are: {named}")
        if parameters.features in WEIGHTLESS and parameters.features != "handmade":
            raise InputError(f"{parameters.features} is a flow model; as features give dino, handmade or a timm name")
        if parameters.features != "handmade" and parameters.features not in PUBLISHED_FILES:
            check_transformer(parameters.features)  # before weights are asked for that could never be used
        if device == "auto" and set(names) <= set(WEIGHTLESS):
            device = "cpu"  # nothing runs on a GPU: no need to import torch to look for one
        return cls(parameters, find_weights(names, weights, fetch=fetch), resolve_device(device), cache)

    def build(self, kept: dict[Hashable, Any] | None = None) -> FrameDescriber:
        """Build the models.

        Parameters
        ----------
        kept : dict, optional
            Where models are looked for first, and put: two plans that differ in numbers only share them.

        Raises
        ------
        WeightsError
            If a file holds no weights of its model.
        """
        kept = {} if kept is None else kept
        parameters, device = self.parameters, self.device
        features: FeatureModel
        if parameters.features == "handmade":
            features = HandmadeFeatures()
        else:
            weights = self.weights[parameters.features]
            key: Hashable = (weights, device, parameters.min_flow)
            if key not in kept:
                kept[key] = TransformerFeatures(parameters.features, weights, device, parameters.min_flow)
            features = kept[key]
        flow: FlowModel | None = None
        if parameters.uses_flow and parameters.flow == "dis":
            flow = DisFlow()
        elif parameters.uses_flow:
            weights = self.weights[parameters.flow]
            key = (weights, device, parameters.flow_updates)
            if key not in kept:
                kept[key] = RaftFlow(parameters.flow, weights, device, parameters.flow_updates)
            flow = kept[key]
        return FrameDescriber(parameters, features, flow, self.cache, batch=1 if device == "cpu" else GPU_BATCH)

    def provenance(self) -> dict[str, Any]:
        """Return what results owe their numbers to: versions, models, weights, device."""
        parameters = self.parameters
        return {
            "flowcut_napari": flowcut_napari.__version__,
            "python": platform.python_version(),
            "packages": {name: found for name in _PACKAGES if (found := _version(name))},
            "features": self._model(parameters.features),
            "flow": self._model(parameters.flow) if parameters.uses_flow else None,
            "device": self.device,
            "crf": "pydensecrf" if parameters.crf and crf_is_available() else None,
        }

    def _model(self, name: str) -> dict[str, str | None]:
        weights = self.weights.get(name)
        return {
            "name": name,
            "weights": weights.path.name if weights else None,
            "sha256": weights.sha256 if weights else None,
        }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
