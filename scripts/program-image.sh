#!/usr/bin/env bash
# Makes a Docker image of programs of this machine, with the libraries they name and busybox for a shell, where no registry can be reached.
# usage: scripts/program-image.sh IMAGE PROGRAM…
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: scripts/program-image.sh IMAGE PROGRAM…" >&2; exit 2; }
image=$1
shift
docker image inspect "$image" > /dev/null 2>&1 && exit 0
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,etc,tmp,root,run,var/lib,var/log}
chmod 1777 "$root/tmp"
busybox=$(command -v busybox)
cp "$busybox" "$root/bin/busybox"
"$busybox" --list | while read -r applet; do [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"; done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\nwww-data:x:33:33:www-data:/:/bin/false\n' > "$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\nwww-data:x:33:\n' > "$root/etc/group"
for program in "$@"; do
  path=$(command -v "$program") || { echo "program-image: $program is not installed" >&2; exit 1; }
  install -D "$path" "$root/usr/bin/$program"
  ldd "$path" | grep -o '/[^ ]*' | while read -r library; do [ -e "$root$library" ] || install -D "$library" "$root$library"; done
done
tar -C "$root" -c . | docker import --change 'ENV PATH=/usr/bin:/bin' - "$image" > /dev/null
