#!/usr/bin/env bash
# Lets clients in one language talk to workflows in another through a server, and compares what they print.
#
#   conformance/cross/run.sh
#
# The server is the one at $PERDURE_ADDRESS (host:port), or else a dev server of its own, with its data in memory, whose
# binary is $PERDURE_BINARY (default bin/perdure). What has to be installed or built goes to a cache, $PERDURE_CACHE or
# else the user's cache directory. Needs Go, Python 3.11 with venv, Node.js 20 and npm.
# Exit status: 0 all as expected, 1 some case failed, 70 the cases could not be run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${PERDURE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/perdure}/conformance
binary=${PERDURE_BINARY:-$root/bin/perdure}
# Each story ends by itself after a minute at most. This catches one that cannot even do that.
limit=()
if command -v timeout >/dev/null; then limit=(timeout --kill-after=10 90); fi

give_up() {
  echo "$1" >&2
  exit 70
}

mkdir -p "$cache"
work=$(mktemp -d)
children=()
stop() {
  local child
  for child in "${children[@]+"${children[@]}"}"; do kill "$child" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap stop EXIT

# Python: the packages of ../python, in the same place of the cache.
requirements=$here/../python/requirements.txt
venv=$cache/python-$( (python3 --version && cat "$requirements") | cksum | tr -d ' ')
if ! [ -d "$venv" ]; then
  fresh=$(mktemp -d "$venv.XXXXXX")
  if ! { python3 -m venv "$fresh" &&
    "$fresh/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" >&2; }; then
    rm -rf "$fresh"
    give_up "could not install what $requirements names"
  fi
  # Someone else may have been quicker.
  if [ -d "$venv" ]; then rm -rf "$fresh"; else mv "$fresh" "$venv"; fi
fi

# TypeScript: the packages of ../typescript.
packages=$("$here/../typescript/packages.sh") || give_up "could not install the npm packages"
cp "$here"/typescript/*.ts "$here/typescript/tsconfig.json" "$work"
ln -s "$packages/node_modules" "$work/node_modules"
"$work/node_modules/.bin/tsc" -p "$work" >&2 || give_up "could not build the TypeScript side"

(cd "$here" && GOWORK=off go build -o "$work/go-side" ./go) || give_up "could not build the Go side"

export PYTHONDONTWRITEBYTECODE=1
side() { # LANGUAGE: sets program to what runs that side
  case $1 in
    go) program=("$work/go-side") ;;
    python) program=("$venv/bin/python" "$here/python/cross.py") ;;
    typescript) program=(node "$work/dist/cross.js") ;;
  esac
}

await() { # FILE WORD PID: until the word is in the file; fails when the process ends first
  until grep -q "$2" "$1"; do
    kill -0 "$3" 2>/dev/null || return 1
    sleep 0.1
  done
}

if [ -z "${PERDURE_ADDRESS:-}" ]; then
  command -v "$binary" >/dev/null || give_up "not there: $binary"
  # Port 0 lets the server choose; it says what.
  "$binary" server start-dev --headless --ip 127.0.0.1 --port 0 --log-level warn >"$work/server" 2>&1 &
  children+=($!)
  await "$work/server" 'serves gRPC on' $! || { cat "$work/server" >&2; give_up "the server did not start"; }
  PERDURE_ADDRESS=$(sed -n 's/.*serves gRPC on \([^,]*\),.*/\1/p' "$work/server")
  export PERDURE_ADDRESS
fi

queue=cross-$$-$RANDOM
for language in go python typescript; do
  side "$language"
  "${program[@]}" worker "$queue-$language" >"$work/$language" 2>&1 &
  children+=($!)
done
index=$((${#children[@]} - 3))
for language in go python typescript; do
  await "$work/$language" working "${children[index]}" || { cat "$work/$language" >&2; give_up "no $language worker"; }
  index=$((index + 1))
done

passed=0
failed=0
talk() { # TITLE CLIENT WORKER
  local status=0
  side "$2"
  "${limit[@]+"${limit[@]}"}" "${program[@]}" client "$queue-$3" >"$work/story" 2>"$work/complaints" || status=$?
  if [ $status -eq 0 ] && diff -u "$here/expected.txt" "$work/story"; then
    passed=$((passed + 1))
    echo "ok   $1"
  else
    failed=$((failed + 1))
    cat "$work/complaints"
    echo "FAIL $1 (exit status $status)"
  fi
}

talk "M245 a Go client talks to a Python workflow" go python
talk "M245 a Go client talks to a TypeScript workflow" go typescript
talk "M245 a Python client talks to a Go workflow" python go
talk "M245 a Python client talks to a TypeScript workflow" python typescript
talk "M245 a TypeScript client talks to a Go workflow" typescript go
talk "M245 a TypeScript client talks to a Python workflow" typescript python
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
