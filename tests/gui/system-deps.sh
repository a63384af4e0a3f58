#!/bin/sh
# What a real window needs on Linux. On Debian as root the packages are installed; elsewhere the missing are named.
set -eu
[ "$(uname -s)" = Linux ] || exit 0

packages="xvfb xauth libgl1 libgl1-mesa-dri libglx-mesa0 libegl1 libopengl0 libxkbcommon-x11-0 libxcb-cursor0
  libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0
  libxcb-xkb1 libdbus-1-3 libfontconfig1"

if command -v dpkg-query >/dev/null 2>&1; then
  missing=""
  for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
  done
  [ -z "$missing" ] && exit 0
  if [ "$(id -u)" = 0 ]; then
    echo "installing:$missing"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    exit 0
  fi
  echo "error: a window needs packages that are missing; run: sudo apt-get install$missing" >&2
  exit 2
fi

# Another distribution: look for what the packages hold.
missing=""
command -v xvfb-run >/dev/null 2>&1 || [ -n "${DISPLAY:-}" ] || missing="$missing xvfb-run"
for library in libGL.so.1 libEGL.so.1 libOpenGL.so.0 libxkbcommon-x11.so.0 libxcb-cursor.so.0 libxcb-icccm.so.4 \
  libxcb-image.so.0 libxcb-keysyms.so.1 libdbus-1.so.3 libfontconfig.so.1; do
  ldconfig -p 2>/dev/null | grep -q "$library" || missing="$missing $library"
done
[ -z "$missing" ] && exit 0
echo "error: a window needs what is missing here:$missing" >&2
exit 2
