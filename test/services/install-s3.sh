#!/bin/sh
# Builds the S3 server of the tests, MinIO, at one version, into a cache outside the tree. Prints the binary's path.
# Needs Go 1.24 or later and the Go module proxy; does nothing when the binary is there.
set -eu

version=v0.0.0-20260212201848-7aac2a2c5b7c
folder="${SKEP_CACHE:-$HOME/.cache/skep}/services/minio-$version"
binary="$folder/minio"

if [ ! -x "$binary" ]; then
  command -v go >/dev/null || { echo "install-s3.sh: Go is not installed" >&2; exit 1; }
  mkdir -p "$folder"
  # Built aside and moved: a build that is killed, or that another one overtakes, leaves no half binary.
  building=$(mktemp -d "$folder/building.XXXXXX")
  trap 'rm -rf "$building"' EXIT
  GOBIN="$building" CGO_ENABLED=0 GOTOOLCHAIN=local go install -trimpath -ldflags '-s -w' "github.com/minio/minio@$version" >&2
  mv "$building/minio" "$binary"
fi
echo "$binary"
