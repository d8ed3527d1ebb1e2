#!/bin/sh
# What Linkspan is made of (sbom), and what is known against it (audit): supply.sh sbom|audit DIRECTORY. The tools live in
# an environment of their own, so that they are no part of what they describe.
set -eu
what=$1 out=$2
python=${PYTHON:-.venv/bin/python}
tools=$out/.tools

say() { echo "$what: $*" >&2; }
skipped() { say "skipped: $*"; exit 0; }

mkdir -p "$out"
if [ ! -x "$tools/bin/cyclonedx-py" ] || [ ! -x "$tools/bin/pip-audit" ]; then
  "$python" -m venv "$tools"
  "$tools/bin/python" -m pip install --quiet --disable-pip-version-check 'cyclonedx-bom>=7,<8' 'pip-audit>=2.9,<3' ||
    skipped "cyclonedx-bom and pip-audit cannot be installed; is the network there?"
fi

case $what in
sbom)
  "$tools/bin/cyclonedx-py" requirements requirements.lock --pyproject pyproject.toml --short-PURLs \
    --output-reproducible --sv 1.6 --of JSON -o "$out/linkspan.cdx.json"
  say "$("$python" scripts/supply.py sbom "$out/linkspan.cdx.json" requirements.lock)"
  ;;
audit)
  rm -f "$out/audit.json"
  "$tools/bin/pip-audit" -r requirements.lock --no-deps --disable-pip --timeout 10 --progress-spinner off \
    -f json -o "$out/audit.json" >"$out/audit.log" 2>&1 || true
  [ -s "$out/audit.json" ] || skipped "the advisories cannot be had: $(tail -n 1 "$out/audit.log")"
  "$python" scripts/supply.py audit "$out/audit.json"
  ;;
*) say "sbom or audit?"; exit 2 ;;
esac
