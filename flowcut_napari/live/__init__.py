"""The work behind a window: processes of their own that compute while somebody looks. Knows neither Qt nor napari.

``cutter`` follows one frame and one set of parameters, ``describer`` is its helper that holds the models, ``whole_run``
makes the masks of a whole video, ``child`` starts any of them, talks to it and ends it with all that it started.
"""
