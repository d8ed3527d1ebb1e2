#!/bin/sh
# Puts prometheus and promtool into a directory (default: the one where the tests look): from Debian's package, or else
# from the image prom/prometheus, if there is an engine. Does nothing where both are there, or on the PATH.
set -eu
to=${1:-$HOME/.cache/linkspan-tools}
if command -v prometheus >/dev/null && command -v promtool >/dev/null; then exit 0; fi
if [ -x "$to/prometheus" ] && [ -x "$to/promtool" ]; then exit 0; fi
mkdir -p "$to"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

from_package() {
  command -v apt-get >/dev/null || return 1
  apt-get update -qq || return 1
  cd "$work"
  apt-get download -qq prometheus || return 1
  apt-get download -qq promtool || true  # part of the former in older releases
  for package in *.deb; do dpkg-deb -x "$package" found || return 1; done
  cp found/usr/bin/prometheus found/usr/bin/promtool "$to/"
}

from_image() {
  command -v docker >/dev/null || return 1
  made=$(docker create prom/prometheus:latest) || return 1
  docker cp -q "$made:/bin/prometheus" "$to/" && docker cp -q "$made:/bin/promtool" "$to/"
  docker rm "$made" >/dev/null
}

(from_package) >/dev/null 2>&1 || (from_image) >/dev/null 2>&1 || { echo "no prometheus: neither a package nor an image" >&2; exit 1; }
