#!/usr/bin/env bash
# Drives the web UI of a server of its own in a headless browser.
#
#   conformance/ui/run.sh
#
# The server's binary is $PERDURE_BINARY (default bin/perdure), the browser $CHROMIUM (default /usr/bin/chromium).
# Screenshots go to ui-screenshots/, for people to look at: no check knows whether a page is beautiful. What has to be
# installed goes to a cache, $PERDURE_CACHE or else the user's cache directory. Needs Node 20 and npm.
# Exit status: 0 all as expected, 1 some check failed, 2 the test could not be run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${PERDURE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/perdure}/ui
binary=${PERDURE_BINARY:-$root/bin/perdure}
chromium=${CHROMIUM:-/usr/bin/chromium}

cd "$here"
for program in "$binary" "$chromium" node npm; do
  command -v "$program" >/dev/null || { echo "not there: $program" >&2; exit 2; }
done

# The packages bring their binaries along, so no install script is needed.
packages=$cache/packages-$( (node --version && cat package.json package-lock.json .npmrc) | cksum | tr -d ' ')
if ! [ -d "$packages" ]; then
  mkdir -p "$cache"
  fresh=$(mktemp -d "$packages.XXXXXX")
  cp package.json package-lock.json .npmrc "$fresh"
  (cd "$fresh" && npm ci --ignore-scripts --silent >&2) || { rm -rf "$fresh"; echo "npm ci failed" >&2; exit 2; }
  # Someone else may have been quicker.
  if [ -d "$packages" ]; then rm -rf "$fresh"; else mv "$fresh" "$packages"; fi
fi

# Node looks for packages beside the program, and the tree stays clean.
program=$(mktemp -d "$cache/program.XXXXXX")
trap 'rm -rf "$program"' EXIT
cp package.json ./*.js "$program"
ln -s "$packages/node_modules" "$program/node_modules"

limit=()
if command -v timeout >/dev/null; then limit=(timeout --kill-after=10 600); fi
status=0
CHROMIUM=$chromium "${limit[@]+"${limit[@]}"}" node "$program/main.js" "$binary" "$root/ui-screenshots" || status=$?
case $status in 0 | 1) exit $status ;; *) exit 2 ;; esac
