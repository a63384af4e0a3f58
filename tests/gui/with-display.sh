#!/bin/sh
# Run a command with a display: a virtual one on Linux, the real one elsewhere.
set -eu
if [ "$(uname -s)" = Linux ] && command -v xvfb-run >/dev/null 2>&1; then
  exec xvfb-run -a -s "-screen 0 1920x1080x24" "$@"
fi
exec "$@"
