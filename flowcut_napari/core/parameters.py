"""Every number of a stage in one frozen model: it makes the sliders, the options, the JSON and the provenance."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from flowcut_napari.core.errors import InputError

# How files are read: no field too many, no text for a number, no NaN.
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

DatasetFormat = Literal["ytvis", "coco", "davis"]
FrameFilesMode = Literal["copy", "link", "reference", "none"]
MatchMethod = Literal["argmax", "hungarian"]
FlowName = Literal["raft-large", "raft-small", "dis"]
PresetName = Literal["flowcut", "locate", "maskcut", "tokencut", "handmade"]

PRESETS: dict[PresetName, dict[str, Any]] = {
    # FlowCut section 4.1; the paper never gives alpha, 0.7 is LOCATE's for the same formula.
    "flowcut": {"alpha": 0.7, "tau": 0.15, "gap": 4, "max_instances": 3, "crf": True},
    "locate": {"alpha": 0.7, "tau": 0.35, "max_instances": 1},
    "maskcut": {"alpha": 1.0, "tau": 0.15, "max_instances": 3},
    "tokencut": {"alpha": 1.0, "tau": 0.2, "max_instances": 1},
    # Nothing to download. Chosen on the tuning sequences of docs/handmade.md.
    "handmade": {
        "features": "handmade",
        "flow": "dis",
        "alpha": 0.5,
        "tau": 0.45,
        "gap": 1,
        "max_instances": 3,
        "max_eigenvalue": 0.07,
        "crf_min_iou": 0.3,
    },
}


def _slider(most: float, step: float, unit: str = "") -> dict[str, Any]:
    """Say how a slider shows a field: up to where at first (values above widen it), its steps, and their unit."""
    return {"slider": {"most": most, "step": step, "unit": unit}}


class CutParameters(BaseModel):
    """Parameters of stage 1, from frames to pseudo-masks.

    The defaults are the paper's (preset ``flowcut``), with one departure: flow pictures are not stretched below
    1 px of motion, unless ``min_flow`` is 0 (METHOD choice 8). The model is frozen: make a changed copy with
    :meth:`with_changes`, which validates, or start from a preset.

    Raises
    ------
    pydantic.ValidationError
        (a ``ValueError``) For an unknown name or a value out of its range.

    Examples
    --------
    >>> CutParameters.preset("maskcut").alpha
    1.0
    >>> CutParameters(tau=0.2).with_changes(gap=2).gap
    2
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    features: str = Field(
        "dino",
        title="Features",
        min_length=1,
        description="patch features: dino (ViT-S/16 keys), handmade, or the timm name of a vision transformer",
    )
    flow: FlowName = Field("raft-large", title="Flow", description="optical flow: raft-large, raft-small or dis")
    alpha: float = Field(
        0.7,
        title="Alpha",
        ge=0,
        le=1,
        description="weight of the picture against its flow, 0 to 1; 1 = no flow",
        json_schema_extra=_slider(1, 0.01),
    )
    tau: float = Field(
        0.15,
        title="Tau",
        ge=0,
        lt=1,
        description="patches hang together above this fused cosine, 0 to 1",
        json_schema_extra=_slider(0.99, 0.01),
    )
    gap: int = Field(
        4,
        title="Gap",
        ge=1,
        le=10_000,
        description="frames between a frame and its flow partner; more for what moves slowly",
        json_schema_extra=_slider(12, 1, "frames"),
    )
    both_ways: bool = Field(
        False,
        title="Both ways",
        description="also use the flow to the frame as far on the other side; takes twice as long; off = the paper",
        json_schema_extra={"word": "flow to both sides"},
    )
    max_instances: int = Field(
        3,
        title="Max. instances",
        ge=1,
        le=50,
        description="cuts taken of a frame, at most",
        json_schema_extra=_slider(6, 1, "cuts"),
    )
    min_area: float = Field(
        0.01,
        title="Min. area",
        ge=0,
        lt=1,
        description="a further cut must cover more than this share of the patches",
        json_schema_extra=_slider(0.2, 0.005),
    )
    max_overlap: float = Field(
        0.5,
        title="Max. overlap",
        ge=0,
        le=1,
        description="a cut whose IoU with an accepted cut is above this is a duplicate, and the last",
        json_schema_extra=_slider(1, 0.01),
    )
    max_eigenvalue: float = Field(
        1.0,
        title="Max. eigenvalue",
        ge=0,
        le=1,
        description="a further cut whose eigenvalue is above this splits what belongs together, and is the last; "
        "1 = the paper's",
        json_schema_extra=_slider(1, 0.01),
    )
    crf: bool = Field(
        True, title="CRF", description="refine each mask by a dense CRF", json_schema_extra={"word": "refine masks"}
    )
    crf_min_iou: float = Field(
        0.5,
        title="Min. CRF IoU",
        ge=0,
        le=1,
        description="drop a mask whose IoU before and after CRF is below this",
        json_schema_extra=_slider(1, 0.01),
    )
    min_flow: float = Field(
        1.0,
        title="Min. flow",
        ge=0,
        description="flow magnitude in pixels that is drawn in full colour at least, so that a still scene "
        "stays white; 0 = the paper's picture",
    )
    height: int = Field(360, title="Height", ge=32, le=8192, description="height of the resized frame, landscape")
    width: int = Field(640, title="Width", ge=32, le=8192, description="width of the resized frame, landscape")
    flow_updates: int = Field(20, title="RAFT updates", ge=1, le=100, description="iterations of RAFT")
    eps: float = Field(1e-5, title="Eps", gt=0, lt=0.1, description="affinity of patches that do not hang together")

    @classmethod
    def preset(cls, name: str) -> CutParameters:
        """Return the named preset: flowcut, locate, maskcut, tokencut or handmade.

        Raises
        ------
        InputError
            (a ``ValueError``) For an unknown name, listing the known ones.
        """
        if name not in get_args(PresetName):
            raise InputError(f"unknown preset {name!r}: choose one of {', '.join(get_args(PresetName))}")
        return cls(**PRESETS[name])  # type: ignore[index]  # checked just above

    def with_changes(self, **changes: Any) -> CutParameters:
        """Return a validated copy in which the given fields are replaced."""
        return type(self)(**{**self.model_dump(), **changes})

    def frame_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) that a frame of this size is worked at.

        The paper resizes every frame to 360x640. A portrait frame gets the two sides exchanged, so that a
        video held upright is not squeezed to a third of its height.
        """
        long_side, short_side = max(self.height, self.width), min(self.height, self.width)
        return (long_side, short_side) if height > width else (short_side, long_side)

    @property
    def uses_flow(self) -> bool:
        """Whether motion plays any part (alpha below 1)."""
        return self.alpha < 1


class CurationParameters(BaseModel):
    """Parameters of stage 2, from pseudo-masks to clips (FlowCut section 3.3).

    Gaps count in the list of frames that have masks: every frame of a video, or every fifth where only those were cut
    (METHOD choice 9).

    Raises
    ------
    pydantic.ValidationError
        (a ``ValueError``) For an unknown name or a value out of its range.

    Examples
    --------
    >>> CurationParameters(gaps=(4, 1)).gaps
    (1, 4)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    gaps: tuple[Annotated[int, Field(ge=1, le=10_000)], ...] = Field(
        (1, 2, 3, 4), title="Gaps", min_length=1, description="frames from one frame of a clip to the next"
    )
    iou: float = Field(
        0.5,
        title="Min. IoU",
        ge=0,
        lt=1,
        description="instances match above this IoU of their masks, 0 to 1; strict",
        json_schema_extra=_slider(0.99, 0.01),
    )
    method: MatchMethod = Field("argmax", title="Matching", description="argmax (Algorithm 1) or hungarian")
    clip_length: Annotated[int, Field(ge=2)] | Literal["all"] | None = Field(
        None,
        title="Clip length",
        description="frames of a clip: 2 are matched pairs as in the paper, more are cut out of tracklets, all is the "
        "whole video; None is what suits the format, all for davis and else 2",
    )
    only_accepted: bool = Field(
        False,
        title="Only accepted",
        description="leave out what nobody accepted, not only what somebody rejected",
        json_schema_extra={"word": "drop what nobody accepted"},
    )

    @field_validator("gaps")
    @classmethod
    def _rising(cls, gaps: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(gaps)))


def one_line(error: ValidationError) -> str:
    """Return a pydantic error as one line: ``alpha is 1.5: should be less than or equal to 1; ...``."""
    parts = []
    items = error.errors(include_url=False)
    # What is left of a list when its items are refused is too short, too: that says nothing.
    items = [item for item in items if item["type"] != "too_short"] or items
    for item in items:
        field = ".".join(str(part) for part in item["loc"]) or "input"
        if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            parts.append(f"{field} is not known here")
        elif item["type"] == "json_invalid":
            parts.append("a text in it is no Unicode")  # which is all that Python's own reader lets pass
        else:
            found = repr(item["input"])
            shown = found if len(found) <= 60 else f"{found[:57]}..."
            said = "is missing" if item["type"] == "missing" else f"is {shown}"
            parts.append(f"{field} {said}: {item['msg'][:1].lower()}{item['msg'][1:]}")
    return "; ".join(parts)
