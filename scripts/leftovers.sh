#!/usr/bin/env bash
# Lists what tests could leave behind on this machine, one sorted line each; test.sh compares the lists of before and after.
set -u
for process in /proc/[0-9]*; do
  name=$(tr '\0' ' ' < "$process/cmdline" 2> /dev/null | cut -c 1-120) || continue
  case $name in *dockerd*|*containerd*|*purser*|*inotifywait*) echo "process $name" ;; esac
done | grep -v -e 'leftovers.sh' -e 'scripts/test.sh' -e '\.ci/run' | sort
cut -d ' ' -f 5 /proc/self/mountinfo | sed 's/^/mount /' | sort
ls /run/netns 2> /dev/null | sed 's/^/netns /' | sort
ls /sys/class/net | grep -e '^br' -e docker -e veth -e sandbox | sed 's/^/link /' | sort
{ iptables-save 2> /dev/null || true; } | grep -e '^-A' | sed 's/^/iptables /' | sort
find /sys/fs/cgroup -maxdepth 2 -type d -name 'purser-sandbox-*' | sed 's/^/cgroup /' | sort
