#!/usr/bin/env bash
# Installs what `npm run build` made for all users of this host: /usr/local/lib/purser with the command, the shim and the one
# native package (lmdb) beside it, /usr/local/bin/purser, and the systemd units where systemd runs. Starts nothing.
# Run again it upgrades in place: a running agent is replaced at its next restart, and no mount breaks.
# usage: scripts/install.sh [--uninstall]        environment: DESTDIR
set -euo pipefail
cd "$(dirname "$0")/.."
library=${DESTDIR:-}/usr/local/lib/purser
binary=${DESTDIR:-}/usr/local/bin
units=${DESTDIR:-}/etc/systemd/system
[ "$(id -u)" = 0 ] || { echo "install: root is needed" >&2; exit 1; }

case ${1:-} in
  "") ;;
  --uninstall)
    if [ -z "${DESTDIR:-}" ]; then
      if [ -S /run/purser/agent.sock ]; then
        echo "install: the agent still runs; first: purser runtime uninstall; systemctl disable --now purser-agent (or stop it); purser agent release" >&2
        exit 1
      elif [ -e /var/lib/purser/runtime-install.json ]; then
        echo "install: the runtime is still in Docker; first: purser runtime uninstall" >&2
        exit 1
      fi
      rm -f /var/lib/purser/runtime-install.json.lock
    fi
    rm -rf "$library" "$binary/purser" "$units"/purser-{server,agent,driver}.service
    if [ -z "${DESTDIR:-}" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
    echo "removed; /var/lib/purser with identities and data is still there"
    exit 0 ;;
  *) echo "usage: scripts/install.sh [--uninstall]" >&2; exit 2 ;;
esac

[ -x dist/purser ] && [ -x dist/purser-runtime ] || { echo "install: build first: npm ci && npm run build" >&2; exit 1; }
mkdir -p "$library" "$binary"
# Copied beside and renamed: a process that runs the old file keeps it.
for file in purser purser-runtime package.json; do
  cp "dist/$file" "$library/.$file.new"
  chmod "$([ $file = package.json ] && echo 644 || echo 755)" "$library/.$file.new"
  mv "$library/.$file.new" "$library/$file"
done
rm -rf "$library/ui" "$library/node_modules"
cp -r dist/ui "$library/ui"
# lmdb and what it needs at run time, as npm resolved them here.
node -e '
  const { cpSync, existsSync, readFileSync } = require("node:fs");
  const wanted = ["lmdb"], seen = new Set();
  for (let name; (name = wanted.pop()) !== undefined;) {
    if (seen.has(name) || !existsSync(`node_modules/${name}`)) continue;
    seen.add(name);
    cpSync(`node_modules/${name}`, `${process.argv[1]}/node_modules/${name}`, { recursive: true });
    const { dependencies, optionalDependencies } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
    wanted.push(...Object.keys({ ...dependencies, ...optionalDependencies }));
  }' "$library"
ln -sfn /usr/local/lib/purser/purser "$binary/purser"
if [ -n "${DESTDIR:-}" ] || [ -d /run/systemd/system ]; then
  mkdir -p "$units"
  cp deploy/purser-{server,agent,driver}.service "$units/"
  [ -n "${DESTDIR:-}" ] || systemctl daemon-reload
fi
echo "installed $("$library/purser" --version) in /usr/local/lib/purser"
