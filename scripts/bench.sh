#!/usr/bin/env bash
# Measures, side by side in one run, and prints tables: container start against plain runc, variables with references at start and exec, rotation into 100 containers, reads of
# a secret file against tmpfs and a no-op FUSE server, a read loop with and without the ledger, memory of the agent, throughput of the core against a bare HTTP server,
# answers of the Swarm driver.
# usage: scripts/bench.sh [start] [env] [rotation] [files] [reads] [memory] [page] [core] [policy] [driver] [ledger] [scale]        (default: all)
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "bench: root is needed (FUSE mounts, namespaces and a Docker Engine of its own)" >&2; exit 1; }
scripts/prerequisites.sh docker.io busybox-static gcc libc6-dev iptables iproute2 util-linux wrk chromium fonts-dejavu-core
[ -d node_modules ] && [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund
npm run --silent build
echo "kernel $(uname -r), $(nproc) CPUs, Node $(node --version), $(dockerd --version), $(date -u +%F)"
exec scripts/sandbox.sh node --import tsx test/bench/main.ts "$@"
