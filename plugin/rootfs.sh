#!/bin/sh
# Lays out the root filesystem of the managed plugin: a Node binary, flock (which locks the state), the shared
# libraries that they name, and the one bundled file. Nothing else: no shell, no package, no node_modules. The same recipe for the machine's own Node (scripts/build-plugin.sh) and in plugin/Dockerfile.
# usage: rootfs.sh DIRECTORY NODE BUNDLE
set -eu
[ $# -eq 3 ] || { echo "usage: rootfs.sh DIRECTORY NODE BUNDLE" >&2; exit 2; }
root=$1 node=$(readlink -f "$2") bundle=$3
flock=$(command -v flock) || { echo "rootfs: flock is missing: apt-get install util-linux" >&2; exit 1; }
mkdir -p "$root/bin" "$root/etc" "$root/run/docker/plugins" "$root/state" "$root/tmp" "$root/proc" "$root/sys" "$root/dev"
cp "$node" "$root/bin/node"
cp -L "$flock" "$root/bin/flock"
# Symbols are a seventh of its size, and it runs without.
if command -v strip > /dev/null; then strip --strip-unneeded "$root/bin/node"; fi
# The libraries that ldd names with their path, the loader among them, and those that glibc loads by itself to look names up.
{ ldd "$node" "$flock" | grep -oE '/[^ :]*\.so[^ ]*'; ldconfig -p | grep -oE '/[^ ]*libnss_(dns|files)\.so\.2|/[^ ]*libresolv\.so\.2' | grep -v -e /i386 -e /lib32; } | sort -u | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done
cp "$bundle" "$root/purser"
printf 'root:x:0:0:root:/:/none\n' > "$root/etc/passwd"
printf 'hosts: files dns\n' > "$root/etc/nsswitch.conf"
chmod 755 "$root/bin/node" "$root/purser"
