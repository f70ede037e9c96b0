#!/usr/bin/env bash
# Judges a server through the official TypeScript SDK.
#
#   conformance/typescript/run.sh [NODE-OPTION...]      for example: --test-name-pattern=M244
#
# The server is the one at $PERDURE_ADDRESS (host:port), or else a dev server of its own, with its data in memory, whose
# binary is $PERDURE_BINARY (default bin/perdure). What has to be installed or built goes to a cache, $PERDURE_CACHE or
# else the user's cache directory, so the tree stays clean and a second run is quick. Needs Node.js 20 and npm.
# Exit status: that of the tests, 0 when all passed, or 70 when they could not be run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
binary=${PERDURE_BINARY:-$root/bin/perdure}

give_up() {
  echo "$1" >&2
  exit 70
}

cd "$here"
packages=$(./packages.sh) || give_up "could not install what package-lock.json names"
program=$packages.program-$(cat tsconfig.json src/*.ts src/*/*.ts | cksum | tr -d ' ')
if ! [ -d "$program" ]; then
  fresh=$(mktemp -d "$program.XXXXXX")
  cp -R src package.json tsconfig.json "$fresh"
  ln -s "$packages/node_modules" "$fresh/node_modules"
  (cd "$fresh" && node_modules/.bin/tsc && node dist/bundle.js) >&2 || { rm -rf "$fresh"; give_up "could not build the tests"; }
  # Someone else may have been quicker.
  if [ -d "$program" ]; then rm -rf "$fresh"; else mv "$fresh" "$program"; fi
fi

server=
log=$(mktemp)
stop() {
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    # Its first line says where it serves. There should not be more.
    tail -n +2 "$log" >&2
  fi
  rm -f "$log"
}
trap stop EXIT

if [ -z "${PERDURE_ADDRESS:-}" ]; then
  command -v "$binary" >/dev/null || give_up "not there: $binary"
  # Port 0 lets the server choose; it says what.
  "$binary" server start-dev --headless --ip 127.0.0.1 --port 0 --log-level warn >"$log" 2>&1 &
  server=$!
  until grep -q 'serves gRPC on' "$log"; do
    kill -0 "$server" 2>/dev/null || { cat "$log" >&2; give_up "the server did not start"; }
    sleep 0.1
  done
  PERDURE_ADDRESS=$(sed -n 's/.*serves gRPC on \([^,]*\),.*/\1/p' "$log")
  export PERDURE_ADDRESS
fi

# The tests end by themselves. This catches a run that cannot.
limit=()
if command -v timeout >/dev/null; then limit=(timeout --kill-after=10 900); fi
status=0
"${limit[@]+"${limit[@]}"}" node --test-reporter=spec "$@" "$program/dist/main.js" || status=$?
exit "$status"
