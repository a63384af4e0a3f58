"""Every number of prediction."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from flowcut_napari.core.errors import InputError
from flowcut_napari.core.parameters import one_line
from flowcut_training.precision import Precision

# Of Mask2Former's video head (METHOD 8.4); a model that states the sizes it was trained on goes before them.
_SHORT_SIDE, _MAX_SIDE = 360, 1333
# Linking takes a frame that two windows have in common.
SMALLEST_WINDOW = 2


class PredictionParameters(BaseModel):
    """How a video becomes instances; the defaults are the reference's (METHOD 8.4).

    Raises
    ------
    pydantic.ValidationError
        (a ``ValueError``) For an unknown name or a value out of its range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    short_side: int = Field(_SHORT_SIDE, ge=32, le=4096, description="short side of a resized frame, pixels")
    max_side: int = Field(_MAX_SIDE, ge=32, le=8192, description="long side of a resized frame at most, pixels")
    top: int = Field(10, ge=1, le=1000, description="instances of a video at most, those of the best scores")
    threshold: float = Field(0.0, ge=0, le=1, description="instances below this score are left out")
    window: int | None = Field(
        None, ge=0, description="frames seen at once at most; 0 = always the whole video, none = as memory allows"
    )
    precision: Precision = Field(
        "float32", description="float32, bf16, or auto: bf16 on a GPU that has it; scores in bf16 are coarse"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.max_side < self.short_side:
            raise ValueError(f"max_side is {self.max_side}, below short_side, {self.short_side}")
        if self.window is not None and 0 < self.window < SMALLEST_WINDOW:
            raise ValueError(
                f"window is {self.window}: give 0 for the whole video, or {SMALLEST_WINDOW} frames or more"
            )
        return self

    @classmethod
    def make(
        cls,
        *,
        short_side: int | None,
        max_side: int | None,
        trained_sides: tuple[int | None, int | None],
        top: int,
        threshold: float,
        window: int | None,
        precision: str,
    ) -> PredictionParameters:
        """Fill in the sizes that are not given from those that the model was trained on.

        Parameters
        ----------
        short_side, max_side : int or None
            As given. A short side alone goes with the reference's longest side: the model's belongs to its own.
        trained_sides : (int or None, int or None)
            What the model says.
        top, threshold, window, precision
            As the fields.

        Raises
        ------
        InputError
            For a value that cannot be used.
        """
        trained_short, trained_max = trained_sides
        if short_side is not None or trained_short is None:
            trained_max = None
        short_side = short_side or trained_short or _SHORT_SIDE
        max_side = max_side or trained_max or max(_MAX_SIDE, short_side)
        try:
            return cls.model_validate(
                {
                    "short_side": short_side,
                    "max_side": max_side,
                    "top": top,
                    "threshold": threshold,
                    "window": window,
                    "precision": precision,
                }
            )
        except ValidationError as error:
            raise InputError(one_line(error)) from None
