"""The F-measure between contours, under the name that it has among measures: `flowcut_napari.core.boundaries`."""

from flowcut_napari.core.boundaries import Contour, f_measure, find_contours, tolerance

__all__ = ["Contour", "f_measure", "find_contours", "tolerance"]
