#!/bin/sh
# Makes the virtual environment $1 from requirements.lock with the first Python of 3.11 to 3.13 that is found.
set -eu
venv=$1

say() { echo "setup: $*" >&2; exit 2; }
fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

python=
for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
  if fits "$candidate"; then python=$candidate; break; fi
done
[ -n "$python" ] || say "no Python 3.11, 3.12 or 3.13 found; install one, or name it: make PYTHON=/path/to/python3 …"

if [ ! -x "$venv/bin/python" ] || ! fits "$venv/bin/python"; then
  rm -rf "$venv"
  "$python" -m venv "$venv" || say "$python cannot make a virtual environment (on Debian: apt-get install python3-venv)"
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "setting up $venv (once; downloads about 300 MB)" >&2
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock >"$log" 2>&1 ||
  { tail -n 5 "$log" >&2; say "the packages of requirements.lock cannot be installed; is the network there?"; }
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . >"$log" 2>&1 ||
  { tail -n 5 "$log" >&2; say "linkspan itself cannot be installed"; }
