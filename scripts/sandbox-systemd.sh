#!/usr/bin/env bash
# Inside scripts/sandbox.sh: a machine of its own that systemd boots, with Docker as Debian's units start it (cgroup v2, systemd as cgroup
# driver), for tests of the units. Nothing that would touch the kernel of the host is started. Run it as process 1 of new namespaces:
# usage: unshare --pid --mount --net --fork --kill-child --mount-proc scripts/sandbox-systemd.sh
set -euo pipefail
[ "${SANDBOX:-}" = 1 ] && [ $$ = 1 ] || { echo "sandbox-systemd: run it inside scripts/sandbox.sh, as process 1" >&2; exit 2; }
if [ "${1:-}" != boot ]; then # the cgroup folder of this machine becomes the root of its own cgroup namespace
  umount -R -l /sys/fs/cgroup
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  mkdir -p "/sys/fs/cgroup$SANDBOX_CGROUP/systemd"
  echo 1 > "/sys/fs/cgroup$SANDBOX_CGROUP/systemd/cgroup.procs"
  exec unshare --cgroup "$0" boot
fi
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
here=$(cd "$(dirname "$0")/.." && pwd)
exec 9< "$here"
for folder in /run /etc/systemd/system /var/lib/docker /var/lib/containerd /var/log /var/tmp; do
  mkdir -p "$folder"
  mount -t tmpfs -o mode=755 tmpfs "$folder"
done
mkdir -p /run/home /run/lock
mount -t tmpfs -o mode=1777 tmpfs /tmp
if [ ! -e "$here/package.json" ]; then # this clone lies where one of those is now
  mkdir -p "$here"
  mount --no-canonicalize --bind /proc/self/fd/9 "$here"
fi
exec 9<&-
mount --bind /dev/null /etc/fstab
mount --make-rshared /
ip link set lo up
# What a machine starts by itself concerns devices, kernel settings and file systems, which are the host's; the journal is enough.
for wanted in /lib/systemd/system/{sysinit,basic,local-fs,sockets,timers,paths}.target.wants/*; do
  case ${wanted##*/} in systemd-journald*|dbus.socket) ;; *) ln -sf /dev/null "/etc/systemd/system/${wanted##*/}" ;; esac
done
if [ -n "${SANDBOX_DOCKERD:-}" ] || [ ! -e /lib/systemd/system/docker.service ]; then # another engine than Debian's: as its unit, with a containerd of its own
  cat > /etc/systemd/system/docker.service << UNIT
[Service]
Type=notify
Environment=PATH=$PATH
ExecStart=$(command -v "${SANDBOX_DOCKERD:-dockerd}")
ExecReload=/bin/kill -s HUP \$MAINPID
Delegate=yes
KillMode=process
UNIT
fi
printf '[Unit]\nWants=docker.service dbus.service\n' > /etc/systemd/system/boot.target
exec env -i container=other PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=boot.target
