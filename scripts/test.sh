#!/usr/bin/env bash
# Every check of this repository, from a clean clone: installs what is missing, builds, checks types and style, runs the unit,
# conformance and integration tests, then the end-to-end tests on a real Docker Engine in a throw-away machine (sandbox.sh).
# Leaves no process, mount, namespace, bridge, firewall rule or cgroup behind; the last step checks that.
# usage: scripts/test.sh [unit|e2e]        (default: everything)
set -euo pipefail
cd "$(dirname "$0")/.."
part=${1:-all}
case $part in all|unit|e2e) ;; *) echo "usage: scripts/test.sh [unit|e2e]" >&2; exit 2 ;; esac
[ "$(id -u)" = 0 ] || { echo "test: root is needed (FUSE mounts, namespaces and a Docker Engine of its own)" >&2; exit 1; }

say() { printf '\n== %s\n' "$*"; }

say "prerequisites"
scripts/prerequisites.sh docker.io busybox-static inotify-tools iptables iproute2 util-linux faketime systemd dbus nginx-light redis-server redis-tools openssl musl-tools gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user chromium fonts-dejavu-core python3-hvac python3-castellan ansible mariadb-plugin-hashicorp-key-management
[ -d node_modules ] && [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund
scripts/leftovers.sh > .leftovers-before
trap 'rm -f .leftovers-before .leftovers-after' EXIT

say "build"
npm run --silent build

if [ "$part" != e2e ]; then
  say "types and style"
  npm run --silent typecheck
  npm run --silent lint
  say "unit, conformance and integration tests"
  npm run --silent test:unit
fi

if [ "$part" != unit ]; then
  say "end-to-end tests on a real Docker Engine"
  scripts/sandbox.sh node scripts/run-tests.mjs test/e2e --concurrency 1
  say "the isolation of containers where cgroup v2 is the only one"
  SANDBOX_CGROUP_V2=1 scripts/sandbox.sh node scripts/run-tests.mjs test/e2e/isolation.test.ts --concurrency 1
  say "a Swarm of three machines, with faults"
  scripts/sandbox.sh node scripts/run-tests.mjs test/lab --concurrency 1
fi

say "nothing left behind"
left() { scripts/leftovers.sh > .leftovers-after; comm -13 <(sort .leftovers-before) <(sort .leftovers-after); }
for _ in $(seq 50); do
  remains=$(left)
  [ -n "$remains" ] || break
  sleep 0.1
done
if [ -n "$remains" ]; then
  printf '%s\ntest: the lines above were left behind by the tests\n' "$remains" >&2
  exit 1
fi
echo "no process, mount, namespace, bridge, firewall rule or cgroup was left behind"
