#!/bin/sh
# protos.sh DIRECTORY BIN: generates the Python code of protos/ below DIRECTORY with the tools of BIN.
# protos.sh check BIN: says whether that code is fresh, the protos keep to buf's rules, and old clients still fit.
set -eu
target=$1 bin=$2
here=linkspan/control/v1

generate() {
  mkdir -p "$1/$here"
  rm -f "$1/$here"/*_pb2*
  PATH="$bin:$PATH" "$bin/python" -m grpc_tools.protoc -I protos \
    "--python_out=$1" "--grpc_python_out=$1" "--mypy_out=quiet:$1" "--mypy_grpc_out=quiet:$1" "protos/$here"/*.proto
  : >"$1/$here/__init__.py"
  # Only a file with a service has stubs; of the others nothing but imports would be left.
  for proto in "protos/$here"/*.proto; do
    grep -q '^service ' "$proto" || rm -f "$1/$here/$(basename "$proto" .proto)"_pb2_grpc.py*
  done
}

fresh() {
  made=$(mktemp -d)
  trap 'rm -rf "$made"' EXIT
  generate "$made"
  diff -r -x __pycache__ "$made/$here" "services/$here" ||
    { echo "services/$here is not what protos/ says: run make protos" >&2; exit 1; }
}

# Against the last release; before the first one against the last commit of main that had protos.
breaking() {
  against=$(git describe --tags --abbrev=0 2>/dev/null || true)
  for ref in "$against" origin/main main; do
    if [ -n "$ref" ] && git cat-file -e "$ref:protos/buf.yaml" 2>/dev/null; then
      old=$(mktemp -d)
      git archive "$ref" protos | tar -x -C "$old"
      echo "buf breaking: against $ref"
      "$bin/buf" breaking protos --against "$old/protos" || { rm -rf "$old"; exit 1; }
      rm -rf "$old"
      return
    fi
  done
  echo "buf breaking: skipped, as there is neither a release nor a main with protos/ here"
}

if [ "$target" = check ]; then
  fresh
  "$bin/buf" lint protos
  breaking
else
  generate "$target"
fi
