#!/usr/bin/env bash
# Makes the image of the agent as a container (deploy/agent-stack.yml) out of dist/, and puts it into the local Docker Engine. Needs no registry: the root
# filesystem is this machine's own Node, the few programs that the agent runs, and the one bundled file.
# usage: scripts/build-image.sh [--output FILE] [IMAGE]
#   --output   also save it to FILE, for docker load on the other nodes; or docker push it where there is a registry
#   IMAGE      its name (default purser-agent:<version>)
set -euo pipefail
cd "$(dirname "$0")/.."
usage() { sed -n '4,6s/^# //p' "$0" >&2; exit 2; }
output= image=
while [ $# -gt 0 ]; do
  case $1 in
    --output) [ $# -ge 2 ] || usage; output=$2; shift ;;
    -*) usage ;;
    *) [ -z "$image" ] || usage; image=$1 ;;
  esac
  shift
done
fail() { echo "build-image: $1" >&2; exit 1; }
[ -x dist/purser ] && [ -x dist/purser-runtime ] || fail "build first: npm ci && npm run build"
docker version > /dev/null 2>&1 || fail "no Docker Engine answers"
image=${image:-purser-agent:$(dist/purser --version)}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sh plugin/rootfs.sh "$work" "$(command -v node)" dist/purser mount umount
# Beside the bundle, where the agent looks for it.
cp dist/purser-runtime "$work/purser-runtime"
tar -C "$work" --owner 0 --group 0 -c . | docker import --change 'ENV PATH=/bin' --change 'ENTRYPOINT ["/bin/node", "/purser"]' - "$image" > /dev/null
[ -z "$output" ] || docker save --output "$output" "$image"
echo "made the image $image ($(du -sm "$work" | cut -f 1) MB)"
