"""A session: all that is open in a window, in one small file, so that it can be opened again."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, model_validator

from flowcut_napari.core.errors import DamagedFileError, InputError
from flowcut_napari.core.files import write_atomically
from flowcut_napari.core.json_stream import refuse_constant
from flowcut_napari.core.parameters import CurationParameters, CutParameters, one_line
from flowcut_napari.core.store import VideoRecord

SCHEMA: Final = "flowcut.session/1"
SUFFIX = ".flowcut.json"
_FROZEN = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class SessionVideo(BaseModel):
    """A video that is open.

    Attributes
    ----------
    video : VideoRecord
        `path` is an address that `find_videos` takes, at which the video has its `name`.
    masks : str or None
        Its masks file, which has all decisions.
    frame : int
        That is looked at.
    """

    model_config = _FROZEN

    video: VideoRecord
    masks: str | None = None
    frame: NonNegativeInt = 0


class Session(BaseModel):
    """What is open in a window; paths are absolute here, whatever they are in the file.

    Attributes
    ----------
    videos : tuple of SessionVideo
    current : int or None
        Which of them is looked at.
    parameters : CutParameters
    weights : dict of str to str
        Files of models, where they were chosen.
    device : str
    curation : CurationParameters
    page, tab : str
        Of the panel.
    export : dict
        What is set in the Export tab.
    """

    model_config = _FROZEN

    schema_: Literal["flowcut.session/1"] = Field(SCHEMA, alias="schema")
    videos: tuple[SessionVideo, ...] = ()
    current: NonNegativeInt | None = None
    parameters: CutParameters
    weights: dict[str, str] = Field(default_factory=dict)
    device: str = "auto"
    curation: CurationParameters = Field(default_factory=CurationParameters)
    page: str = ""
    tab: str = ""
    export: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_current(self) -> Session:
        if self.current is not None and self.current >= len(self.videos):
            raise ValueError(f"video {self.current} is looked at, of {len(self.videos)}")
        return self

    def names(self) -> str:
        """Return ``dog, cat and 2 more``: the video that is looked at first."""
        names = [item.video.name for item in self.videos]
        if self.current is not None:
            names.insert(0, names.pop(self.current))
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return ", ".join(names[:3]) + more


def write_session(session: Session, path: str | os.PathLike[str]) -> None:
    """Write a session, whole or not at all. What lies below its folder or beside it is named from there.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    path = Path(os.path.abspath(path))
    content = _with_paths(session, lambda name: _relative(name, path.parent)).model_dump(mode="json", by_alias=True)
    write_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_session(path: str | os.PathLike[str]) -> Session:
    """Read a session; whether what it names is still there is not looked at.

    Raises
    ------
    InputError
        If there is none, a newer version made it, or (`DamagedFileError`) it is damaged.
    """
    path = Path(os.path.abspath(path))
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: not a regular file")
        text = path.read_text(encoding="utf-8")
        content = json.loads(text, parse_constant=refuse_constant)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError) and "not a regular" in str(error):
            raise
        raise DamagedFileError(f"{path}: damaged, cannot be read as JSON ({str(error)[:200]})") from None
    _check_schema(path, content)
    try:
        session = Session.model_validate_json(text)
    except ValidationError as error:
        raise DamagedFileError(f"{path}: damaged ({one_line(error)[:300]})") from None
    return _with_paths(session, lambda name: os.path.normpath(path.parent / name))


def _check_schema(path: Path, content: Any) -> None:
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema == SCHEMA:
        return
    match = re.fullmatch(r"flowcut\.session/([1-9][0-9]{0,5})", schema) if isinstance(schema, str) else None
    if match:
        raise InputError(f"{path}: made by a newer version of FlowCut (schema {schema}); this one reads {SCHEMA}")
    raise InputError(f"{path}: no session of FlowCut (its schema is {str(schema)[:60]!r}, not {SCHEMA!r})")


def _with_paths(session: Session, convert: Callable[[str], str]) -> Session:
    videos = tuple(
        SessionVideo(
            video=VideoRecord(**{**vars(item.video), "path": convert(item.video.path)}),
            masks=convert(item.masks) if item.masks is not None else None,
            frame=item.frame,
        )
        for item in session.videos
    )
    weights = {name: convert(path) for name, path in session.weights.items()}
    return session.model_copy(update={"videos": videos, "weights": weights})


def _relative(name: str, folder: Path) -> str:
    """Return a path from a folder, if it lies below that or beside it; all of a disk is beside nothing."""
    around = folder.parent if folder.parent != folder.parent.parent else folder
    if around == around.parent or not Path(name).is_relative_to(around):
        return name
    return Path(os.path.relpath(name, folder)).as_posix()
