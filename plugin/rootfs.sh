#!/bin/sh
# Lays out a root filesystem for the managed plugin, or for the agent as a container: a Node binary, flock (which locks the state) and the programs
# that are named, the shared libraries of all of them, and the one bundled file. Nothing else: no shell, no package, no node_modules. The same recipe for
# the machine's own Node (scripts/build-plugin.sh, scripts/build-image.sh) and in Dockerfiles.
# usage: rootfs.sh DIRECTORY NODE BUNDLE [PROGRAM…]
set -eu
[ $# -ge 3 ] || { echo "usage: rootfs.sh DIRECTORY NODE BUNDLE [PROGRAM…]" >&2; exit 2; }
root=$1 node=$(readlink -f "$2") bundle=$3
shift 3
mkdir -p "$root/bin" "$root/etc" "$root/run/docker/plugins" "$root/state" "$root/tmp" "$root/proc" "$root/sys" "$root/dev"
set -- flock "$@"
programs=$node
for name in "$@"; do
  path=$(command -v "$name") || { echo "rootfs: $name is missing: apt-get install util-linux" >&2; exit 1; }
  cp -L "$path" "$root/bin/$name"
  programs="$programs $path"
done
cp "$node" "$root/bin/node"
# Symbols are a seventh of its size, and it runs without.
if command -v strip > /dev/null; then strip --strip-unneeded "$root/bin/node"; fi
# The libraries that ldd names with their path, the loader among them, and those that glibc loads by itself to look names up.
# shellcheck disable=SC2086
{ ldd $programs | grep -oE '/[^ :]*\.so[^ ]*'; ldconfig -p | grep -oE '/[^ ]*libnss_(dns|files)\.so\.2|/[^ ]*libresolv\.so\.2' | grep -v -e /i386 -e /lib32; } | sort -u | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done
cp "$bundle" "$root/purser"
printf 'root:x:0:0:root:/:/none\n' > "$root/etc/passwd"
printf 'hosts: files dns\n' > "$root/etc/nsswitch.conf"
chmod 755 "$root/bin/node" "$root/purser"
