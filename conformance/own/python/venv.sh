#!/usr/bin/env bash
# Prints where a Python is that has the packages of ../../python/requirements.txt, after installing them if need be. They go
# to a cache, $PERDURE_CACHE or else the user's cache directory. Needs Python 3.11 with venv.
set -euo pipefail

requirements=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../python" && pwd)/requirements.txt
cache=${PERDURE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/perdure}/conformance
venv=$cache/python-$( (python3 --version && cat "$requirements") | cksum | tr -d ' ')
if ! [ -d "$venv" ]; then
  mkdir -p "$cache"
  fresh=$(mktemp -d "$venv.XXXXXX")
  if ! { python3 -m venv "$fresh" &&
    "$fresh/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" >&2; }; then
    rm -rf "$fresh"
    echo "could not install what $requirements names" >&2
    exit 70
  fi
  # Someone else may have been quicker.
  if [ -d "$venv" ]; then rm -rf "$fresh"; else mv "$fresh" "$venv"; fi
fi
echo "$venv/bin/python"
