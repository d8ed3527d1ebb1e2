#!/bin/sh
# Builds the image $IMAGE:$TAG from the Dockerfile; what is given goes to `docker buildx build` (--no-cache, --platform …).
# The package index is pip's: PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_TRUSTED_HOST and PIP_PROXY are handed on; an index that
# asks for a password is better given as PIP_CONF, a pip.conf, which is a secret of the build. Nothing of it is in the image.
set -eu
docker info >/dev/null 2>&1 || { echo "image: no Docker engine answers; start one" >&2; exit 2; }
docker buildx version >/dev/null 2>&1 || { echo "image: docker buildx is missing; install it (docker-buildx-plugin)" >&2; exit 2; }

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' services/linkspan/__init__.py)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain 2>/dev/null)" ] || revision=$revision-changed
# The time of the last commit is the time of everything in it, so that two builds of one commit are one image.
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || echo 315532800)}"
export SOURCE_DATE_EPOCH

set -- --build-arg SOURCE_DATE_EPOCH --build-arg "VERSION=$version" --build-arg "REVISION=$revision" "$@"
for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_PROXY; do
  eval "value=\${$name:-}"
  [ -z "$value" ] || set -- --build-arg "$name" "$@"
done
[ -z "${PIP_CONF:-}" ] || set -- --secret "id=pip.conf,src=$PIP_CONF" "$@"
# Only BuildKit's own builders can set the times of a layer; with an engine's built-in one the Dockerfile has done what can be.
case $(docker buildx inspect 2>/dev/null | sed -n 's/^Driver: *//p') in
  docker) set -- --load "$@" ;;
  *) set -- --provenance=false --output "type=docker,rewrite-timestamp=true" "$@" ;;
esac
exec docker buildx build --tag "${IMAGE:-linkspan}:${TAG:-dev}" "$@" .
