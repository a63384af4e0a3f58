"""A process that keeps the session of a window, as a window does, until it is killed or told to end.

window_user.py SESSION    keeps what this session file has; ends as it should at the end of its input
"""

from __future__ import annotations

import sys

from flowcut_napari.viewer.session import read_session
from flowcut_napari.viewer.window_session import WindowSession

if __name__ == "__main__":
    window = WindowSession()
    window.keep(read_session(sys.argv[1]))
    print("kept", flush=True)
    sys.stdin.read()
    window.end()
