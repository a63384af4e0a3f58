"""What the menu entries under Layers > Segment > FlowCut do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcut_napari.viewer.preferences import PLUGIN
from flowcut_napari.widgets.panel import FlowCutPanel
from flowcut_napari.widgets.session.keeper import session_of
from flowcut_napari.widgets.workbench import workbench_of

if TYPE_CHECKING:
    import napari.viewer


def show_panel(viewer: napari.viewer.Viewer) -> FlowCutPanel:
    """Open the panel, or bring the open one to the front."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    dock, panel = viewer.window.add_plugin_dock_widget(PLUGIN, "FlowCut")
    dock.show()
    dock.raise_()
    return panel


def open_video(viewer: napari.viewer.Viewer) -> None:
    """Ask for a video file, and open it."""
    show_panel(viewer).video_bar.ask_file()


def run_all_frames(viewer: napari.viewer.Viewer) -> None:
    """Show where a run over all frames is started."""
    panel = show_panel(viewer)
    panel.pages.show_page(panel.tabs)
    names = [panel.tabs.tabText(place) for place in range(panel.tabs.count())]
    panel.tabs.setCurrentIndex(names.index("Run"))


def restore_layers(viewer: napari.viewer.Viewer) -> None:
    """Bring back the layers that were deleted."""
    workbench_of(viewer).restore_layers()


def kept_versions(viewer: napari.viewer.Viewer) -> None:
    """Show the versions of the open masks file that were kept."""
    session_of(show_panel(viewer).bench).ask_kept()


def save_session(viewer: napari.viewer.Viewer) -> None:
    """Ask where to save what is open, and save it."""
    session_of(show_panel(viewer).bench).ask_save()


def open_session(viewer: napari.viewer.Viewer) -> None:
    """Ask for a session, and open all that belongs to it."""
    session_of(show_panel(viewer).bench).ask_open()
