#!/usr/bin/env bash
# Runs a command in a throw-away machine inside this one: own process, mount and network namespaces, own /run, /etc, /var/lib
# and /usr/local, and a Docker Engine of its own with a busybox image. When the command ends, is interrupted or killed, the
# kernel takes everything with it: processes, mounts, bridges, firewall rules. Only cgroup folders outlive a namespace; they
# are removed here, and by the next run if this one was killed.
# usage: scripts/sandbox.sh COMMAND…        environment: SANDBOX_DOCKERD (default dockerd), SANDBOX_CGROUP_V2=1 (the unified hierarchy alone),
#        SANDBOX_USERNS=1 (dockerd --userns-remap=default)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "sandbox: root is needed (namespaces, FUSE, Docker)" >&2; exit 1; }
[ $# -gt 0 ] || { echo "usage: scripts/sandbox.sh COMMAND…" >&2; exit 2; }

remove_cgroups() { # those of this run, and of runs whose shell is gone
  local folder pid
  for folder in /sys/fs/cgroup/*/purser-sandbox-* /sys/fs/cgroup/purser-sandbox-*; do
    [ -d "$folder" ] || continue
    pid=${folder##*-}
    if [ "$pid" != $$ ] && [ -d "/proc/$pid" ]; then continue; fi
    find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
}
remove_cgroups
trap remove_cgroups EXIT
trap 'exit 130' INT TERM HUP

SANDBOX_CGROUP=/purser-sandbox-$$ unshare --mount --pid --net --fork --kill-child --mount-proc -- \
  bash "$here/sandbox-init.sh" "$@" &
child=$!
trap 'kill -KILL $child 2>/dev/null; wait $child 2>/dev/null; exit 130' INT TERM HUP
status=0
wait $child || status=$?
exit $status
