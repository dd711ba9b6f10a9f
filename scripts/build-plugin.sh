#!/usr/bin/env bash
# Makes the managed Docker plugin for Swarm managers out of plugin/ and dist/purser, and puts it into the local Docker Engine, disabled. Needs no
# registry: with the machine's own Node, or with plugin/Dockerfile where images can be pulled.
# usage: scripts/build-plugin.sh [--docker] [--output DIR] [NAME]
#   --docker   the root filesystem from plugin/Dockerfile (NODE_IMAGE in the environment: its base), not from this machine's Node
#   --output   leave config.json and rootfs/ in DIR, for docker plugin create elsewhere, and do not touch Docker
#   NAME       of the plugin, and so of the driver (default purser)
set -euo pipefail
cd "$(dirname "$0")/.."
usage() { sed -n '4,7s/^# //p' "$0" >&2; exit 2; }
way=node output= name=
while [ $# -gt 0 ]; do
  case $1 in
    --docker) way=docker ;;
    --output) [ $# -ge 2 ] || usage; output=$2; shift ;;
    -*) usage ;;
    *) [ -z "$name" ] || usage; name=$1 ;;
  esac
  shift
done
name=${name:-purser}
fail() { echo "build-plugin: $1" >&2; exit 1; }
[ -x dist/purser ] || fail "build first: npm ci && npm run build"
[ -n "$output" ] || docker version > /dev/null 2>&1 || fail "no Docker Engine answers; with --output DIR none is needed"
if [ -z "$output" ] && docker plugin inspect "$name" > /dev/null 2>&1; then
  fail "there is a plugin $name already; first: docker plugin disable $name; docker plugin rm $name (its identity goes with it)"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ $way = docker ]; then
  [ -n "${NODE_IMAGE:-}" ] && set -- --build-arg "NODE_IMAGE=$NODE_IMAGE" || set --
  # Only what is needed, whatever else lies in the clone.
  mkdir -p "$work/context/dist" "$work/context/plugin"
  cp dist/purser "$work/context/dist/"
  cp plugin/Dockerfile plugin/rootfs.sh "$work/context/plugin/"
  image=$(docker build --quiet --file "$work/context/plugin/Dockerfile" "$@" "$work/context")
  rm -rf "$work/context"
  container=$(docker create "$image")
  mkdir "$work/rootfs"
  docker export "$container" | tar -x -C "$work/rootfs"
  docker rm "$container" > /dev/null
  rm -f "$work/rootfs/.dockerenv"
else
  sh plugin/rootfs.sh "$work/rootfs" "$(command -v node)" dist/purser
fi
cp plugin/config.json "$work/"

if [ -n "$output" ]; then
  mkdir -p "$output"
  cp -a "$work/." "$output/"
  echo "made $output: docker plugin create $name $output"
  exit 0
fi
docker plugin create "$name" "$work" > /dev/null
cat << TEXT
made the plugin $name ($(du -sm "$work/rootfs" | cut -f 1) MB). On this manager:
  docker plugin set $name PURSER_JOIN_TOKEN=\$(purser node token --driver)
  docker plugin enable $name
TEXT
