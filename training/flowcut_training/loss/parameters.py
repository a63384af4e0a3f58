"""The weights of the loss and of the matching; the defaults are Mask2Former's, which the paper keeps."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class LossParameters(BaseModel):
    """How predictions are matched with instances and compared with them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    class_weight: float = Field(2.0, ge=0, le=1000, description="weight of the classification")
    mask_weight: float = Field(5.0, ge=0, le=1000, description="weight of the binary cross-entropy of masks")
    dice_weight: float = Field(5.0, ge=0, le=1000, description="weight of the dice loss of masks")
    no_object_weight: float = Field(
        0.1, gt=0, le=1, description="weight of a query that is no instance, in the classification"
    )
    points: int = Field(
        12544, ge=1, le=10_000_000, description="points at which masks are compared, of each instance and frame"
    )
    oversample: float = Field(
        3.0, ge=1, le=100, description="as many times more points are drawn, to choose the uncertain ones"
    )
    uncertain_share: float = Field(0.75, ge=0, le=1, description="share of the points that are the most uncertain ones")
