"""What each command of ``flowcut`` takes, a function each; the work is done in `flowcut_napari.commands`."""
