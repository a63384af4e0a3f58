"""The settings of last time: the parameters, weights and device that a user left, kept for the next window."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.files import write_atomically
from flowcut_napari.core.parameters import CutParameters, one_line
from flowcut_napari.core.weights import file_names, locate_weights


class LastSettings(BaseModel):
    """What is kept from one window to the next."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["flowcut.settings/1"] = Field("flowcut.settings/1", alias="schema")
    parameters: CutParameters
    weights: dict[str, Path] = Field(default_factory=dict)
    device: str | None = None


def settings_path() -> Path:
    """Return where they are kept."""
    return platformdirs.user_state_path("flowcut") / "settings.json"


def read_last() -> LastSettings | None:
    """Return the settings of last time, or None if there are none.

    Raises
    ------
    InputError
        If they cannot be read.
    """
    path = settings_path()
    try:
        return LastSettings.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise InputError(f"{path}: the settings of last time cannot be read ({one_line(error)})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the settings of last time cannot be read ({error})") from None


def write_last(settings: LastSettings) -> None:
    """Keep the settings, whole or not at all.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    content = json.dumps(settings.model_dump(mode="json", by_alias=True), indent=1) + "\n"
    write_atomically(settings_path(), content)


def first_parameters(folder: str | None = None) -> CutParameters:
    """Return what a window starts with that has never been used: the paper's preset, if its weights are at hand.

    Else the hand-made one, so that the first look needs no download. `folder` is another place for weights.
    """
    paper = CutParameters.preset("flowcut")

    def is_there(name: str) -> bool:
        beside = folder is not None and any((Path(folder) / file).is_file() for file in file_names(name))
        return beside or locate_weights(name, {}) is not None

    if is_there(paper.features) and is_there(paper.flow):
        return paper
    return CutParameters.preset("handmade")
