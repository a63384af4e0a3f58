"""Training and evaluation backend of flowcut-napari; it uses `flowcut_napari.core` and never Qt or napari."""
