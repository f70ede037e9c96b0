#!/usr/bin/env bash
# Measures Perdure and Restate side by side, each on a fresh directory on disk.
#
#   bench/restate.sh [flags of load]
#
# The server of Restate comes as an npm package, which is installed in a cache, $PERDURE_CACHE or else the user's cache
# directory; data and logs are below it, too. PORTS are those of Restate (ingress, admin, node) and of Perdure. NO_LOAD=1 starts
# the servers, says what to give to load, and keeps them until it is interrupted.
# Exit status: that of load; 1 if a server does not start, whose log is printed then.
set -euo pipefail

version=1.7.12
read -r ingress admin node perdure <<<"${PORTS:-29080 29070 29122 29233}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PERDURE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/perdure}
packages=$cache/restate-$version

for program in curl go npm; do
  command -v "$program" >/dev/null || { echo "not there: $program" >&2; exit 1; }
done

# install puts the package in the cache unless it is there. It carries its binary along, so no install script is needed.
install() {
  [ -d "$packages" ] && return
  mkdir -p "$cache"
  local fresh
  fresh=$(mktemp -d "$packages.XXXXXX")
  npm install --prefix "$fresh" --ignore-scripts --no-audit --no-fund --silent "@restatedev/restate-server@$version" >&2 ||
    { rm -rf "$fresh"; echo "npm install failed" >&2; return 1; }
  # Someone else may have been quicker.
  if [ -d "$packages" ]; then rm -rf "$fresh"; else mv "$fresh" "$packages"; fi
}

# await LOG PID COMMAND... waits until COMMAND succeeds.
await() {
  local log=$1 pid=$2
  shift 2
  for _ in $(seq 300); do
    "$@" >/dev/null 2>&1 && return
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  echo "not serving:" >&2
  cat "$log" >&2
  return 1
}

restate_serves() { curl -fs "127.0.0.1:$admin/health" && curl -fs "127.0.0.1:$ingress/restate/health"; }
perdure_serves() { (: <>"/dev/tcp/127.0.0.1/$perdure"); }

install
work=$(mktemp -d "$cache/restate-bench.XXXXXX")
pids=()
finish() {
  trap '' INT TERM
  if [ ${#pids[@]} -gt 0 ]; then
    kill "${pids[@]}" 2>/dev/null || true
    wait "${pids[@]}" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

(cd "$here" && go build -o "$work/" ./load)
(cd "$here/.." && go build -o "$work/" ./cmd/perdure)

# What it keeps and when it syncs is left as it comes: see README.md.
RESTATE_INGRESS__BIND_ADDRESS=127.0.0.1:$ingress RESTATE_ADMIN__BIND_ADDRESS=127.0.0.1:$admin RESTATE_DISABLE_TELEMETRY=true \
  "$(echo "$packages"/node_modules/@restatedev/restate-server-*/bin/restate-server)" --no-logo --log-filter warn --node-name bench \
  --base-dir "$work/restate" --listen-mode tcp --bind-ip 127.0.0.1 --bind-port "$node" >"$work/restate.log" 2>&1 &
pids+=($!)
"$work/perdure" server --headless --ip 127.0.0.1 --port "$perdure" --http-port -1 --log-level warn --data "$work/perdure-data" \
  >"$work/perdure.log" 2>&1 &
pids+=($!)
await "$work/restate.log" "${pids[0]}" restate_serves
await "$work/perdure.log" "${pids[1]}" perdure_serves

targets=(
  -target "perdure=127.0.0.1:$perdure,pid=${pids[1]}" -target "own=127.0.0.1:$perdure,sdk=own,pid=${pids[1]}"
  -target embedded=,sdk=embedded
  -target "restate=127.0.0.1:$ingress,sdk=restate,admin=127.0.0.1:$admin,pid=${pids[0]}"
)
if [ -n "${NO_LOAD:-}" ]; then
  echo "${targets[@]}"
  wait -n
  exit 1 # one of them has ended by itself
fi
"$work/load" "${targets[@]}" -dir "$work" -scenarios activity@32,activity@128 -rounds 3 -seconds 3 "$@"
