#!/bin/sh
# Build the images `train` and `edge` with docker or podman, or `mlflow`, the tracking server's.
#
#   docker/build.sh [train] [edge] [mlflow]
#
# ENGINE      docker or podman              [the first one found]
# BASE_IMAGE  image with Python 3.11        [python:3.11-slim]
# PREFIX      in front of the image's name  [ghcr.io/litemill/]
# PLATFORM    linux/arm64, linux/amd64      [this machine's]
set -eu

cd "$(dirname "$0")/.."
engine=${ENGINE:-}
if [ -z "$engine" ]; then
  if docker info >/dev/null 2>&1; then engine=docker; else engine=podman; fi
fi
command -v "$engine" >/dev/null || { echo "docker or podman is needed" >&2; exit 1; }
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' litemill/__init__.py)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)

set -- ${*:-train edge}
for name in "$@"; do
  case $name in
    mlflow) tag=$(sed -n 's/^mlflow==\([^ ;]*\).*/\1/p' requirements.lock) ;;
    *) tag=$version-python3.11 ;;
  esac
  tag=${PREFIX:-ghcr.io/litemill/}$name:$tag
  options="--network=host"
  case $engine in
    *podman)
      # pip and uv trust the certificates of this machine while they build (a proxy's own, for instance).
      options="$options --isolation=oci --format=docker"
      options="$options --volume /etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro" ;;
  esac
  echo "building $tag"
  # shellcheck disable=SC2086  # options is a list
  "$engine" build $options ${PLATFORM:+--platform "$PLATFORM"} ${BASE_IMAGE:+--build-arg BASE_IMAGE="$BASE_IMAGE"} \
    --build-arg VERSION="$version" --build-arg REVISION="$revision" \
    --file "docker/$name.Dockerfile" --tag "$tag" .
done
