#!/usr/bin/env bash
# Makes busybox:latest from Debian's busybox-static where no registry can be reached. With "inotify" in INSTALLED programs the
# image also carries inotifywait (and the libraries it names), which the tests watch files with.
set -euo pipefail
docker image inspect busybox:latest > /dev/null 2>&1 && exit 0
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/bin "$root"/etc "$root"/tmp "$root"/root "$root"/run "$root"/var
chmod 1777 "$root/tmp"
busybox=$(command -v busybox) || { echo "busybox-static is missing: apt-get install busybox-static" >&2; exit 1; }
cp "$busybox" "$root/bin/busybox"
"$busybox" --list | while read -r applet; do [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"; done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' > "$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' > "$root/etc/group"
if inotifywait=$(command -v inotifywait); then
  cp "$inotifywait" "$root/bin/inotifywait"
  ldd "$inotifywait" | grep -o '/[^ ]*' | while read -r library; do install -D "$library" "$root$library"; done
fi
tar -C "$root" -c . | docker import --change 'CMD ["sh"]' - busybox:latest > /dev/null
