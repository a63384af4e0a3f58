"""VideoMask2Former: a ResNet, a pixel decoder with deformable attention, and queries that attend to a whole clip."""

from flowcut_training.model.normalize import normalize
from flowcut_training.model.video_mask2former import VideoMask2Former

__all__ = ["VideoMask2Former", "normalize"]
