#!/usr/bin/env bash
# Installs the Debian packages named that are missing, and a C compiler; says what it does. A Docker Engine that is already on the
# machine (dockerd in PATH) counts as docker.io, whoever packaged it.
set -euo pipefail
missing=()
for package in gcc make "$@"; do
  case $package in
    gcc|make|iptables) command -v "$package" > /dev/null && continue ;;
    docker.io) command -v dockerd > /dev/null && continue ;;
    busybox-static) command -v busybox > /dev/null && continue ;;
    inotify-tools) command -v inotifywait > /dev/null && continue ;;
    iproute2) command -v ip > /dev/null && continue ;;
    util-linux) command -v nsenter > /dev/null && continue ;;
    *) dpkg -s "$package" > /dev/null 2>&1 && continue ;;
  esac
  missing+=("$package")
done
# The static shim needs the C library's headers and archive.
[ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get > /dev/null || { echo "prerequisites: please install: ${missing[*]}" >&2; exit 1; }
  [ "$(id -u)" = 0 ] || { echo "prerequisites: root is needed to install: ${missing[*]}" >&2; exit 1; }
  echo "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # A package must not start a Docker Engine here: tests run their own, and the quickstart starts it when it wants to.
  policy=/usr/sbin/policy-rc.d
  [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' > $policy; chmod +x $policy; trap 'rm -f $policy' EXIT; }
  apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
fi
[ -c /dev/fuse ] || { echo "prerequisites: this kernel offers no /dev/fuse (try: modprobe fuse)" >&2; exit 1; }
