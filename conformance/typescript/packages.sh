#!/usr/bin/env bash
# Installs the npm packages that package-lock.json names into the cache, unless they are there, and prints the directory
# that has node_modules. The cache is $PERDURE_CACHE or else the user's cache directory.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
cache=${PERDURE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/perdure}/conformance

for program in node npm; do
  command -v "$program" >/dev/null || { echo "not there: $program" >&2; exit 1; }
done
packages=$cache/typescript-$( (node --version && cat package.json package-lock.json .npmrc) | cksum | tr -d ' ')
if ! [ -d "$packages" ]; then
  mkdir -p "$cache"
  fresh=$(mktemp -d "$packages.XXXXXX")
  cp package.json package-lock.json .npmrc "$fresh"
  # The packages bring their binaries along, so no install script is needed.
  (cd "$fresh" && npm ci --ignore-scripts --silent >&2) || { rm -rf "$fresh"; echo "npm ci failed" >&2; exit 1; }
  # Someone else may have been quicker.
  if [ -d "$packages" ]; then rm -rf "$fresh"; else mv "$fresh" "$packages"; fi
fi
echo "$packages"
