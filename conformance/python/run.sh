#!/usr/bin/env bash
# Judges a server through the official Python SDK.
#
#   conformance/python/run.sh [PYTEST-ARGUMENT...]      for example: -k queries, or test_signals.py
#
# The server is the one at $PERDURE_ADDRESS (host:port), or else a dev server of its own, with its data in memory, whose
# binary is $PERDURE_BINARY (default bin/perdure). What has to be installed goes to a cache, $PERDURE_CACHE or else the
# user's cache directory. Needs Python 3.11 with venv.
# Exit status: that of pytest, 0 when all tests passed, or 70 when the tests could not be run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${PERDURE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/perdure}/conformance
binary=${PERDURE_BINARY:-$root/bin/perdure}

give_up() {
  echo "$1" >&2
  exit 70
}

venv=$cache/python-$( (python3 --version && cat "$here/requirements.txt") | cksum | tr -d ' ')
if ! [ -d "$venv" ]; then
  mkdir -p "$cache"
  fresh=$(mktemp -d "$venv.XXXXXX")
  if ! { python3 -m venv "$fresh" &&
    "$fresh/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2; }; then
    rm -rf "$fresh"
    give_up "could not install what $here/requirements.txt names"
  fi
  # Someone else may have been quicker.
  if [ -d "$venv" ]; then rm -rf "$fresh"; else mv "$fresh" "$venv"; fi
fi

free_ports() {
  "$venv/bin/python" - <<'PYTHON'
import socket
sockets = [socket.socket() for _ in range(2)]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))
PYTHON
}

server=
stop() {
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
}
trap stop EXIT

if [ -z "${PERDURE_ADDRESS:-}" ]; then
  command -v "$binary" >/dev/null || give_up "not there: $binary"
  read -r port http <<<"$(free_ports)"
  "$binary" server start-dev --headless --ip 127.0.0.1 --port "$port" --http-port "$http" --log-level warn >&2 &
  server=$!
  export PERDURE_ADDRESS=127.0.0.1:$port
fi

cd "$here"
status=0
PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" -m pytest "$@" || status=$?
exit "$status"
