"""Adapters between the core and napari's layers."""
