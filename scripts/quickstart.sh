#!/usr/bin/env bash
# Purser on this machine in one command: builds it, starts an embedded core (loopback only, unsealed from a key file) and an
# agent, puts the runtime into Docker by live reload, and shows a secret that rotates inside a running container.
# Run again it reuses what is there. `--down` removes all of it, and nothing that was there before.
# usage: scripts/quickstart.sh [--down]
set -euo pipefail
cd "$(dirname "$0")/.."
state=/var/lib/purser/quickstart
purser=$PWD/dist/purser
demo=purser-quickstart

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '$ %s\n' "$*"; }
fail() { echo "quickstart: $1" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "root is needed (Docker's runtime, FUSE); try: sudo scripts/quickstart.sh"

# A program of ours by its pid file: the pid must still be that program, since numbers are used again.
running() { local pid; pid=$(cat "$state/$1.pid" 2> /dev/null) && grep -qa "$2" "/proc/$pid/cmdline" 2> /dev/null; }
start() { # name, text in its command line, command…
  local name=$1 mark=$2; shift 2
  running "$name" "$mark" && { echo "$name is running already"; return; }
  setsid nohup "$@" < /dev/null >> "$state/$name.log" 2>&1 &
  echo $! > "$state/$name.pid"
}
stop() { # name, text in its command line
  local pid
  if running "$1" "$2"; then
    pid=$(cat "$state/$1.pid")
    kill "$pid"
    for _ in $(seq 100); do [ -d "/proc/$pid" ] || break; sleep 0.1; done
    [ -d "/proc/$pid" ] && kill -9 "$pid"
    echo "stopped $1"
  fi
  rm -f "$state/$1.pid"
}
wait_for() { # what, seconds, command…
  local what=$1 tries=$(($2 * 10)); shift 2
  for _ in $(seq $tries); do "$@" > /dev/null 2>&1 && return 0; sleep 0.1; done
  fail "$what did not come up; see the logs in $state"
}

down() {
  [ -d "$state" ] || { echo "there is nothing to remove"; return; }
  if docker version > /dev/null 2>&1; then
    docker rm --force "$demo" > /dev/null 2>&1 && echo "removed the container $demo"
    [ -x "$purser" ] && "$purser" runtime uninstall
    [ -e /var/lib/purser/runtime-install.json ] && left=1
  fi
  stop agent purser
  [ -x "$purser" ] && "$purser" agent release
  stop server purser
  [ -e "$state/imported-busybox" ] && docker image rm busybox:latest > /dev/null 2>&1 && echo "removed busybox:latest"
  [ -e "$state/started-dockerd" ] && stop dockerd dockerd
  [ -e "$state/made-profile" ] && rm -rf "$HOME/.purser"
  rm -rf "$state"
  if [ -n "${left:-}" ]; then
    mkdir -m 0700 "$state"
    echo "removed the quickstart, but for the runtime (see the warning above): after that run scripts/quickstart.sh --down again"
    return
  fi
  rm -f /var/lib/purser/runtime-install.json.lock
  rmdir /var/lib/purser 2> /dev/null || true
  mountpoint -q /run/purser/fs || rm -rf --one-file-system /run/purser
  echo "removed the quickstart"
}

case ${1:-} in
  "") ;;
  --down) down; exit 0 ;;
  *) echo "usage: scripts/quickstart.sh [--down]" >&2; exit 2 ;;
esac

say "1. what it needs"
command -v node > /dev/null || fail "Node.js 20 or newer is needed (Debian: apt-get install nodejs npm)"
scripts/prerequisites.sh docker.io busybox-static iptables
mkdir -p -m 0700 /var/lib/purser "$state"
if ! docker version > /dev/null 2>&1; then
  if [ -d /run/systemd/system ]; then systemctl start docker; else start dockerd dockerd dockerd; fi
  touch "$state/started-dockerd"
  wait_for "the Docker Engine" 30 docker version
fi
echo "Docker Engine $(docker version --format '{{.Server.Version}}'), Node $(node --version)"
if ! docker image inspect busybox:latest > /dev/null 2>&1; then
  timeout 20 docker pull --quiet busybox:latest > /dev/null 2>&1 || scripts/busybox-image.sh
  touch "$state/imported-busybox"
fi

say "2. build"
[ -d node_modules ] && [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund
npm run --silent build
ls -l dist/purser dist/purser-runtime | awk '{print $5, $9}'

say "3. the encrypted core, on loopback"
start server purser "$purser" server --data-dir "$state/server" --listen 127.0.0.1:8200 \
  --auto-unseal-key-file "$state/unseal.key" --init-if-needed
ca=$state/server/tls/ca.pem
wait_for "the core" 20 "$purser" status --address https://127.0.0.1:8200 --ca-cert "$ca"
[ -e "$HOME/.purser" ] || touch "$state/made-profile"
"$purser" login --address https://127.0.0.1:8200 --ca-cert "$ca" --token-file "$state/server/root-token"
"$purser" policy write quickstart - <<< 'path "secret/data/db/*" { capabilities = ["read"] }'
"$purser" workload write quickstart --policy quickstart --image 'busybox:*' --image busybox

say "4. the agent of this node"
if [ ! -e "$state/agent/node.json" ]; then
  "$purser" node token --ttl 5m | "$purser" agent join --token - --name quickstart --state-dir "$state/agent"
fi
start agent purser "$PWD/dist/purser-runtime" purser-agent -- node "$purser" agent --state-dir "$state/agent"
wait_for "the agent" 20 test -S /run/purser/agent.sock
"$purser" runtime install

say "5. a secret, and a container that names it"
show "purser kv put secret/db/prod password=-"
printf 'first-%s' "$(od -An -N6 -tx1 /dev/urandom | tr -d ' ')" | "$purser" kv put secret/db/prod password=-
docker rm --force "$demo" > /dev/null 2>&1 || true
reference=purser://secret/db/prod#password
show "docker run -d --name $demo -l purser.file.db_password=$reference busybox sleep 1d"
docker run -d --name "$demo" -l "purser.file.db_password=$reference" busybox:latest sleep 86400
show "docker exec $demo cat /run/secrets/db_password"
docker exec "$demo" cat /run/secrets/db_password; echo
show "docker inspect $demo   (only the reference)"
docker inspect "$demo" --format '{{json .Config.Labels}}'
value=$(docker exec "$demo" cat /run/secrets/db_password)
if docker inspect "$demo" | grep -qF "$value"; then fail "docker inspect shows the value"; fi

say "6. rotate it: the same container reads the new value"
show "purser kv put secret/db/prod password=-"
printf 'second-%s' "$(od -An -N6 -tx1 /dev/urandom | tr -d ' ')" | "$purser" kv put secret/db/prod password=-
for _ in $(seq 50); do
  [ "$(docker exec "$demo" cat /run/secrets/db_password)" != "$value" ] && break
  sleep 0.1
done
show "docker exec $demo cat /run/secrets/db_password"
docker exec "$demo" cat /run/secrets/db_password; echo
[ "$(docker exec "$demo" cat /run/secrets/db_password)" != "$value" ] || fail "the container still reads the old value"
echo "container $(docker inspect "$demo" --format '{{slice .Id 0 12}}'), started $(docker inspect "$demo" --format '{{.State.StartedAt}}')"

say "7. who uses it"
show "purser usage --secret secret/db/prod"
for _ in $(seq 30); do "$purser" usage --secret secret/db/prod --format csv | grep -q second && break; [ "$("$purser" usage --secret secret/db/prod --format csv | wc -l)" -gt 1 ] && break; sleep 0.2; done
"$purser" usage --secret secret/db/prod

say "done"
echo "everything is in $state; remove it with scripts/quickstart.sh --down"
