#!/bin/sh
# Make a base image where no registry can be reached: a minimal Debian 12 with Python 3.11, from a Debian mirror.
#
#   docker/base.sh [IMAGE]     then: BASE_IMAGE=IMAGE docker/build.sh
#
# Needs root, debootstrap, and podman or docker. PLATFORM=linux/arm64 makes it for another machine: that needs
# qemu-user-static, registered with the kernel (binfmt_misc).
set -eu

image=${1:-localhost/python:3.11-base}
engine=${ENGINE:-}
if [ -z "$engine" ]; then
  if docker info >/dev/null 2>&1; then engine=docker; else engine=podman; fi
fi
command -v "$engine" >/dev/null || { echo "docker or podman is needed" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "debootstrap is needed: apt-get install debootstrap" >&2; exit 1; }

case ${PLATFORM:-} in
  "") architecture=$(dpkg --print-architecture) ;;
  linux/*) architecture=${PLATFORM#linux/} ;;
  *) echo "PLATFORM is linux/amd64 or linux/arm64, not $PLATFORM" >&2; exit 1 ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
debootstrap --arch="$architecture" --variant=minbase --include=ca-certificates,python3,python3-venv,python3-pip \
  bookworm "$work/root" >"$work/log" ||
  { tail -n 20 "$work/log" >&2; exit 1; }
rm -rf "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/*
case $engine in
  *podman) platform="--arch $architecture" ;;
  *) platform="--platform linux/$architecture" ;;
esac
# shellcheck disable=SC2086  # platform is two words
tar -C "$work/root" -c . | "$engine" import $platform - "$image"
