"""``python -m flowcut_napari`` is ``flowcut``; torchrun starts it so."""

from flowcut_napari.cli import main

if __name__ == "__main__":
    main()
