#!/usr/bin/env bash
# Runs the examples against a server and compares what they print with their expected.txt.
#
#   examples/run.sh [NAME...]     names: readme python guide go typescript; all of them when none is given
#
# The server is at TEMPORAL_ADDRESS (default localhost:7233). What has to be installed or built goes to a cache,
# $PERDURE_CACHE or else the user's cache directory, so the tree stays clean and a second run is quick.
# Exit status: 0 all as expected, 1 some example failed, 2 wrong usage.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PERDURE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/perdure}/examples
# Each example ends by itself after a minute at most. This catches one that cannot even do that.
limit=()
if command -v timeout >/dev/null; then limit=(timeout 120); fi

# key FILE... names a cache entry after the files that decide what is in it.
key() { cat "$@" | cksum | tr -d ' '; }

# once DIR COMMAND... runs COMMAND with a fresh directory as its last argument and keeps that as DIR if it succeeds.
once() {
  local dir=$1 fresh
  shift
  [ -d "$dir" ] && return
  mkdir -p "$(dirname "$dir")"
  fresh=$(mktemp -d "$dir.XXXXXX")
  if ! "$@" "$fresh" >&2; then
    rm -rf "$fresh"
    return 1
  fi
  # Someone else may have been quicker.
  if [ -d "$dir" ]; then rm -rf "$fresh"; else mv "$fresh" "$dir"; fi
}

make_venv() {
  python3 -m venv "$2" && "$2/bin/python" -m pip install --quiet --disable-pip-version-check -r "$1"
}

run_python() { # DIR PROGRAM
  local venv
  venv=$cache/python-$( (python3 --version && cat "$1/requirements.txt") | cksum | tr -d ' ')
  once "$venv" make_venv "$1/requirements.txt" || return
  PYTHONDONTWRITEBYTECODE=1 "${limit[@]+"${limit[@]}"}" "$venv/bin/python" "$1/$2"
}

run_readme() { # the program in the README, against the server under test
  local venv program
  venv=$cache/python-$( (python3 --version && cat "$here/python/greeting/requirements.txt") | cksum | tr -d ' ')
  once "$venv" make_venv "$here/python/greeting/requirements.txt" || return
  program=$(mktemp -d)
  awk '/^```python/ {on = 1; next} /^```/ {on = 0} on' "$here/../README.md" |
    sed "s/localhost:7233/${TEMPORAL_ADDRESS:-localhost:7233}/; s/greeting-1/greeting-$$-$RANDOM/" >"$program/readme.py"
  # Its exit status says nothing: this SDK may crash while the interpreter ends. What it printed is compared.
  PYTHONDONTWRITEBYTECODE=1 "${limit[@]+"${limit[@]}"}" "$venv/bin/python" -u "$program/readme.py" || true
  rm -rf "$program"
}

run_go() { # DIR
  mkdir -p "$cache"
  (cd "$1" && GOWORK=off go build -o "$cache/greeting-go" .) || return
  "${limit[@]+"${limit[@]}"}" "$cache/greeting-go"
}

npm_ci() { # FROM INTO; the packages carry their binaries along, no install script is needed
  cp "$1/package.json" "$1/package-lock.json" "$1/.npmrc" "$2" && (cd "$2" && npm ci --ignore-scripts --silent)
}

build_typescript() { # PROJECT SOURCES INTO
  cp -R "$2/src" "$2/tsconfig.json" "$3" && ln -s "$1/node_modules" "$3/node_modules" &&
    "$1/node_modules/.bin/tsc" -p "$3"
}

run_typescript() { # DIR
  local packages program
  packages=$cache/typescript-$(key "$1/package.json" "$1/package-lock.json")
  program=$packages.program-$(key "$1/tsconfig.json" "$1"/src/*)
  once "$packages" npm_ci "$1" || return
  once "$program" build_typescript "$packages" "$1" || return
  "${limit[@]+"${limit[@]}"}" node "$program/dist/main.js"
}

run_one() {
  case $1 in
    readme) run_readme ;;
    python) run_python "$here/python/greeting" greeting.py ;;
    guide) run_python "$here/python/guide" messages.py ;;
    go) run_go "$here/go/greeting" ;;
    typescript) run_typescript "$here/typescript/greeting" ;;
  esac
}

expected() {
  case $1 in
    readme) echo "$here/python/readme.expected.txt" ;;
    guide) echo "$here/python/guide/expected.txt" ;;
    *) echo "$here/$1/greeting/expected.txt" ;;
  esac
}

[ $# -gt 0 ] || set -- readme python guide go typescript
for name in "$@"; do
  case $name in
    readme | python | guide | go | typescript) ;;
    *)
      echo "no example is called $name; there are readme, python, guide, go and typescript" >&2
      exit 2
      ;;
  esac
done

printed=$(mktemp)
trap 'rm -f "$printed"' EXIT
passed=0
failed=0
for name in "$@"; do
  status=0
  run_one "$name" >"$printed" || status=$?
  if [ $status -ne 0 ]; then
    cat "$printed"
    echo "FAIL $name: exit status $status"
  elif ! diff -u "$(expected "$name")" "$printed"; then
    echo "FAIL $name: the output differs"
    status=1
  else
    echo "ok   $name"
  fi
  if [ $status -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
