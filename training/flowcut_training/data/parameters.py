"""Every number of the data side of training, as it stands in the configuration of a run."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

# A list in YAML is a tuple here, which strict models refuse from Python's values.
_Factors = Annotated[tuple[float, float], Field(strict=False)]


class DataParameters(BaseModel):
    """How clips become samples; the defaults are FlowCut's (section 4.1), with the augmentation of its reference.

    Raises
    ------
    pydantic.ValidationError
        (a ``ValueError``) For an unknown name, a value out of its range, or a share of stills without stills.

    Examples
    --------
    >>> DataParameters(brightness=(0.8, 1.2)).short_side
    360
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    frames: int = Field(2, title="Frames", ge=1, le=1000, description="frames of a sample, drawn of its clip in order")
    short_side: int = Field(
        360, title="Short side", ge=32, le=4096, description="short side of a resized frame, pixels"
    )
    max_side: int = Field(
        640,
        title="Max. side",
        ge=32,
        le=8192,
        description="long side of a resized frame at most; the short one gives way",
    )
    flip: float = Field(0.5, title="Flip", ge=0, le=1, description="probability of mirroring a clip")
    brightness: _Factors = Field(
        (0.9, 1.1), title="Brightness", description="pixel values times a factor in this range"
    )
    contrast: _Factors = Field(
        (0.9, 1.1), title="Contrast", description="difference to the mean of the frame times a factor in this range"
    )
    rotation: float = Field(
        15.0,
        title="Rotation",
        ge=0,
        le=180,
        description="degrees to either side at most, around a point near the middle",
    )
    per_frame: bool = Field(
        False,
        title="Per frame",
        description="draw brightness, contrast and rotation for each frame, not for each clip (of stills always)",
    )
    stills: str | None = Field(
        None, title="Stills", min_length=1, description="still images with masks: a coco export, or a COCO json"
    )
    stills_images: str | None = Field(
        None,
        title="Images of stills",
        min_length=1,
        description="folder that the file names of the stills start from; none = looked for beside their json",
    )
    stills_share: float = Field(
        0.0, title="Share of stills", ge=0, le=1, description="share of the samples that are stills, 0 to 1"
    )
    workers: int = Field(
        2, title="Workers", ge=0, le=256, description="processes that read clips; 0 = none of their own"
    )
    skip_broken: bool = Field(
        False, title="Skip broken", description="take the next clip where one cannot be read, and say so"
    )

    @model_validator(mode="after")
    def _fits(self) -> DataParameters:
        for name, (low, high) in (("brightness", self.brightness), ("contrast", self.contrast)):
            if not 0 < low <= high <= 10:
                raise ValueError(f"{name} is {low}, {high}: give a lower and an upper factor above 0, at most 10")
        if self.max_side < self.short_side:
            raise ValueError(f"max_side is {self.max_side}, below short_side, {self.short_side}")
        if self.stills is None and self.stills_share > 0:
            raise ValueError("stills_share is given without stills")
        if self.stills is None and self.stills_images is not None:
            raise ValueError("stills_images is given without stills")
        if self.stills is not None and self.stills_share == 0:
            raise ValueError(
                "stills are given, but stills_share is 0: give their share of the samples "
                "(0.23 is the paper's 50,000 beside 167,365 clips)"
            )
        return self
