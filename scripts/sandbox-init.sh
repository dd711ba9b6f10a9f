#!/usr/bin/env bash
# The inside of scripts/sandbox.sh: process 1 of the throw-away machine. Never run it by hand: it mounts over /etc and /run.
set -euo pipefail
[ $$ = 1 ] || { echo "sandbox-init: run scripts/sandbox.sh instead" >&2; exit 2; }

# Live Swarm secrets travel through mount propagation, so the root of this machine is shared with its own containers.
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sandbox /run/tmp /run/home /run/lock
for folder in /etc /var/lib /usr/local; do
  upper=/run/sandbox/upper$(echo "$folder" | tr / -) work=/run/sandbox/work$(echo "$folder" | tr / -)
  mkdir -p "$upper" "$work"
  mount -t overlay overlay -o "lowerdir=$folder,upperdir=$upper,workdir=$work" "$folder"
done
for folder in /var/lib/docker /var/lib/containerd; do
  mkdir -p "$folder"
  mount -t tmpfs -o mode=711 tmpfs "$folder"
done
if [ "${SANDBOX_CGROUP_V2:-}" = 1 ]; then # only the unified hierarchy, as runc and the agent see it
  umount -R -l /sys/fs/cgroup
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
mount --make-rshared /
rm -rf /etc/docker /var/lib/purser
mkdir -p /etc/docker
# Without DNS an engine waits ten seconds per image lookup; a server that refuses at once is faster than one that is away.
rm -f /etc/resolv.conf && echo 'nameserver 127.0.0.1' > /etc/resolv.conf
ip link set lo up
# Swarm wants an address that is not loopback.
ip link add sandbox0 type bridge
ip address add 10.213.0.1/24 dev sandbox0
ip link set sandbox0 up
export HOME=/run/home TMPDIR=/run/tmp SANDBOX=1
ulimit -S -c 0

start_dockerd() {
  "${SANDBOX_DOCKERD:-dockerd}" --cgroup-parent="$SANDBOX_CGROUP" ${SANDBOX_USERNS:+--userns-remap=default} > /run/sandbox/dockerd.log 2>&1 &
  for _ in $(seq 200); do
    if docker version > /dev/null 2>&1; then return 0; fi
    sleep 0.1
  done
  echo "sandbox: dockerd did not start:" >&2
  tail -n 20 /run/sandbox/dockerd.log >&2
  return 1
}
start_dockerd
bash "$(dirname "$0")/busybox-image.sh"
"$@"
