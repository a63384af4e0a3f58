"""The set loss of VideoMask2Former: which query is which instance, and how far off it is."""

from flowcut_training.loss.criterion import Losses, SetCriterion, Share
from flowcut_training.loss.matcher import NotFiniteError, assign, matching_costs
from flowcut_training.loss.parameters import LossParameters

__all__ = ["LossParameters", "Losses", "NotFiniteError", "SetCriterion", "Share", "assign", "matching_costs"]
