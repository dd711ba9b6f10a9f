// Secrets in variables, in real containers: the process sees the value, and nothing else shows more than the reference. Every kind
// of program and of hardening, docker exec and health checks with the current value, refusals, and an agent killed in between.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { docker, eventually, must, run } from './command.ts';
import { Installation, RUNTIME } from './installation.ts';

const REF = 'purser://secret/db/prod#password';
const PW = ['-e', `PW=${REF}`];
const SHOW = ['sh', '-c', 'echo "[$PW]"'];
/** Scripts and images for the containers. */
const FOLDER = '/run/tmp/environment';

/** An image with one dynamic program of this machine, and the libraries it needs. */
async function importProgram(image: string, ...programs: string[]): Promise<void> {
  const libraries = (await must('ldd', programs)).match(/\/\S+(?=\s\(0x)/g) ?? [];
  await must('sh', ['-c', `tar -chf - -C / ${[...new Set([...programs, ...libraries])].map((path) => path.slice(1)).join(' ')} | docker import - ${image}`]);
}

describe('secrets in variables', () => {
  let purser: Installation;
  before(async () => {
    mkdirSync(FOLDER, { recursive: true });
    purser = await Installation.start();
    await purser.put('secret/db/prod', { user: 'app', password: 'first-value' });
    await purser.put('secret/db/odd', { empty: '', base64: 'AQID/w==', nul: 'AAEC', lines: 'a\nb "c" $d', large: 'L'.repeat(64 * 1024), larger: 'x'.repeat(96 * 1024) });
    await purser.put('secret/db/many', Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`f${index}`, `value-${index}`])));
  });
  after(() => purser.stop());

  for (const [name, flags] of [
    ['plain', []],
    ['--user 1000', ['--user', '1000']],
    ['--user 1000:1000 without capabilities', ['--user', '1000:1000', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges']],
    ['no-new-privileges', ['--security-opt', 'no-new-privileges']],
    ['no seccomp profile', ['--security-opt', 'seccomp=unconfined']],
    ['--read-only', ['--read-only']],
    ['--init', ['--init']],
    ['--cap-add SYS_ADMIN', ['--cap-add', 'SYS_ADMIN', '--cap-add', 'SYS_PTRACE']],
    ['--network host', ['--network', 'host', '--userns', 'host']],
    ['--pid host', ['--pid', 'host', '--userns', 'host']],
    ['a working directory', ['--workdir', '/tmp']],
    ['everything at once', ['--user', '1000', '--read-only', '--cap-drop', 'ALL', '--network', 'none', '--init', '--security-opt', 'no-new-privileges']],
  ] as const) {
    test(`the process sees the value: ${name}`, async () => {
      assert.equal(await docker('run', '--rm', ...flags, ...PW, 'busybox', ...SHOW), '[first-value]');
    });
  }

  for (const [text, expected] of [
    [REF, 'first-value'],
    ['se://secret/db/prod/password', 'first-value'],
    ['purser://secret/db/prod', '{"user":"app","password":"first-value"}'],
    ['postgres://${purser://secret/db/prod#user}:${purser://secret/db/prod#password}@db/app', 'postgres://app:first-value@db/app'],
    ['$${purser://x/y} ${se://secret/db/prod/user}', '${purser://x/y} app'],
    ['$${purser://x/y}', '${purser://x/y}'],
    ['purser://secret/db/odd#empty', ''],
    ['purser://secret/db/odd#lines', 'a\nb "c" $d'],
    ['purser://secret/db/none?default=fall%20back', 'fall back'],
    ['x${purser://secret/db/none?optional}y', 'xy'],
    ['purser://secret/db/prod?version=1#password', 'first-value'],
  ] as const) {
    test(`-e V='${text}' comes to the value`, async () => {
      assert.equal(await docker('run', '--rm', '-e', `V=${text}`, 'busybox', 'sh', '-c', 'echo "[$V]"'), `[${expected}]`);
    });
  }

  test('an optional reference that does not exist leaves no variable, and encoding gives bytes', async () => {
    assert.equal(await docker('run', '--rm', '-e', 'V=purser://secret/db/none?optional', 'busybox', 'sh', '-c', 'echo "${V-unset}"'), 'unset');
    assert.equal(await docker('run', '--rm', '-e', 'V=purser://secret/db/odd?encoding=base64#base64', 'busybox', 'sh', '-c', 'printf %s "$V" | od -An -tx1'), ' 01 02 03 ff');
  });

  test('64 KiB in one variable, and 100 variables', async () => {
    assert.equal(await docker('run', '--rm', '-e', 'V=purser://secret/db/odd#large', 'busybox', 'sh', '-c', 'echo ${#V}'), '65536');
    const env = Array.from({ length: 100 }, (_, index) => ['-e', `V${index}=purser://secret/db/many#f${index}`]).flat();
    assert.equal(await docker('run', '--rm', ...env, 'busybox', 'sh', '-c', 'i=0; while [ $i -lt 100 ]; do eval "[ \\$V$i = value-$i ]" || echo "wrong $i"; i=$((i+1)); done; echo end'), 'end');
  });

  test('a dynamic program and a script with #! see the value, beside plain variables', async () => {
    await importProgram('dynamic:e2e', '/usr/bin/env', '/usr/bin/sleep');
    assert.match(await docker('run', '--rm', '-e', 'A=plain', ...PW, 'dynamic:e2e', '/usr/bin/env'), /^PW=first-value$/m);
    const script = join(FOLDER, 'entry.sh');
    writeFileSync(script, '#!/bin/sh\necho "[$PW] $A"\nexec "$@"\n', { mode: 0o755 });
    assert.equal(await docker('run', '--rm', '-v', `${script}:/entry.sh:ro`, '--entrypoint', '/entry.sh', '-e', 'A=plain', ...PW, 'busybox', ...SHOW), '[first-value] plain\n[first-value]');
  });

  test('HOME, HOSTNAME, TERM and loader variables may be secrets; PATH may not', async () => {
    const names = ['HOME', 'HOSTNAME', 'TERM', 'LD_LIBRARY_PATH', 'TZ'];
    assert.equal(await docker('run', '--rm', ...names.flatMap((name) => ['-e', `${name}=purser://secret/db/prod#user`]), 'busybox', 'sh', '-c', `echo ${names.map((name) => `$${name}`).join(' ')}`), 'app app app app app');
    const refused = await run('docker', ['run', '--rm', '-e', `PATH=/bin:\${${REF}}`, 'busybox', 'true']);
    assert.notEqual(refused.status, 0);
    assert.match(refused.stderr, /variable PATH: it cannot have a reference: the runtime looks for the command in it/);
  });

  for (const [name, flags, says] of [
    ['a value with a NUL byte', ['-e', 'V=purser://secret/db/odd?encoding=base64#nul'], /variable V: the value has a NUL byte.*use a file: -e V_FILE=purser/],
    ['more than fits', ['-e', 'V=purser://secret/db/odd#larger'], /the variables with references come to 98307 bytes, the limit is 98304/],
    ['a secret that is not there', ['-e', 'V=x${purser://secret/db/none}'], /purser:\/\/secret\/db\/none: /],
    ['a secret that is not granted', ['-e', 'V=purser://secret/other/x#y'], /purser:\/\/secret\/other\/x#y: /],
    ['a malformed reference', ['-e', 'V=a${purser://secret/db/prod'], /variable V: the reference at character 4 is not closed/],
    ['an unknown mode', ['-l', 'purser.env=file', ...PW], /label purser\.env: there is no such mode/],
  ] as const) {
    test(`${name} refuses the start with the reason, and leaves no mark`, async () => {
      const { status, stderr } = await run('docker', ['run', '--rm', ...flags, 'busybox', 'true']);
      assert.notEqual(status, 0);
      assert.match(stderr, says);
      await eventually('the marks to go', () => readdirSync('/run/purser/environment').length === 0);
    });
  }

  test('Docker, its files, the bundle and the main process\'s block show the reference only', async () => {
    const id = await docker('run', '-d', ...PW, '-e', `URL=db://\${${REF}}@db`, 'busybox', 'sleep', '600');
    const pid = await docker('inspect', '-f', '{{.State.Pid}}', id);
    const bundle = await must('sh', ['-c', `find /run /var/run/ -path '*/${id}/config.json' 2>/dev/null | head -n 1`]);
    const shown: Record<string, string> = {
      'docker inspect': await docker('inspect', id),
      'config.v2.json': readFileSync(`${await docker('info', '--format', '{{.DockerRootDir}}')}/containers/${id}/config.v2.json`, 'utf8'),
      'config.json': readFileSync(bundle, 'utf8'),
      'environ from the host': readFileSync(`/proc/${pid}/environ`, 'utf8'),
      'environ from inside': await docker('exec', id, 'cat', '/proc/1/environ'),
    };
    for (const [what, text] of Object.entries(shown)) {
      assert.ok(text.includes(REF), `${what} has the reference`);
      assert.ok(!text.includes('first-value'), `${what} has no value`);
    }
    assert.equal(realpathSync(readFileSync(`/run/purser/environment/${id}`, 'utf8').trimEnd()), realpathSync(dirname(bundle)));
    await docker('rm', '-f', id);
    assert.equal(existsSync(`/run/purser/environment/${id}`), false);
  });

  test('docker exec and the health check see the rotated value at once, a restart renews the main process, and purser usage tells who is behind', async () => {
    const versions = async (id: string): Promise<unknown> => {
      const usage = JSON.parse(await purser.purser('usage', '--container', id, '--format', 'json')) as { target: string; version: number; released_time: string | null }[];
      return usage.filter(({ released_time: released }) => released === null).map(({ target, version }) => [target, version]);
    };
    const id = await docker('run', '-d', ...PW, '--health-interval', '300ms', '--health-cmd', 'echo "[$PW]" > /dev/shm/health', 'busybox', 'sh', '-c', 'echo "[$PW]" > /dev/shm/main; sleep 600');
    const version = Number((JSON.parse(await purser.purser('kv', 'metadata', 'get', 'secret/db/prod', '--format', 'json').catch(() => '{}')) as { current_version?: number }).current_version ?? 1);
    assert.equal(await docker('exec', id, ...SHOW), '[first-value]');
    await eventually('the ledger', async () => JSON.stringify(await versions(id)) === JSON.stringify([['env:PW', version]]));
    await purser.put('secret/db/prod', { user: 'app', password: 'second-value' });
    await eventually('the new value in exec', async () => await docker('exec', id, ...SHOW) === '[second-value]');
    await eventually('the new value in the health check', async () => await docker('exec', id, 'cat', '/dev/shm/health') === '[second-value]');
    assert.equal(await docker('exec', id, 'cat', '/dev/shm/main'), '[first-value]');
    assert.deepEqual(await versions(id), [['env:PW', version]], 'the main process still has the old one');
    await docker('restart', '-t', '0', id);
    await eventually('the main process', async () => await docker('exec', id, 'cat', '/dev/shm/main') === '[second-value]');
    await eventually('the ledger', async () => JSON.stringify(await versions(id)) === JSON.stringify([['env:PW', version + 1]]));
    await docker('rm', '-f', id);
    await purser.put('secret/db/prod', { user: 'app', password: 'first-value' });
  });

  test('docker exec: with a terminal, as another user, detached, with options of its own; and nothing that was not declared', async () => {
    const id = await docker('run', '-d', ...PW, '-e', 'LATER=purser://secret/db/later?optional', '-e', 'D=purser://secret/db/later?default=none', 'busybox', 'sleep', '600');
    assert.match(await must('script', ['-qec', `docker exec -it ${id} sh -c 'echo "[$PW]"; tty'`, '/dev/null']), /\[first-value\]\r?\n\/dev\/pts\//);
    assert.equal(await docker('exec', '--user', '1000', '--workdir', '/tmp', '-e', 'X=own', id, 'sh', '-c', 'echo "[$PW] $X $(id -u) $PWD"'), '[first-value] own 1000 /tmp');
    await docker('exec', '-d', id, 'sh', '-c', 'echo "[$PW]" > /dev/shm/detached');
    await eventually('the detached process', async () => await docker('exec', id, 'cat', '/dev/shm/detached') === '[first-value]');
    assert.equal(await docker('exec', id, 'sh', '-c', 'echo "${LATER-unset} $D"'), 'unset none');
    await purser.put('secret/db/later', { x: 'came' });
    assert.equal(await docker('exec', id, 'sh', '-c', 'echo "$LATER $D"'), 'came came');
    const refused = await run('docker', ['exec', '-e', 'NEW=purser://secret/db/prod#user', id, 'true']);
    assert.notEqual(refused.status, 0);
    assert.match(refused.stdout + refused.stderr, /variable NEW: only references that the container declared at its start/);
    assert.equal((await run('docker', ['exec', id, 'sh', '-c', 'exit 7'])).status, 7);
    await docker('rm', '-f', id);
  });

  test('docker exec works with the last values while the core is away, also from a new agent', async () => {
    const id = await docker('run', '-d', ...PW, 'busybox', 'sleep', '600');
    await purser.end('core', 'SIGKILL');
    assert.equal(await docker('exec', id, ...SHOW), '[first-value]');
    await purser.end('agent', 'SIGKILL');
    await purser.startAgent();
    assert.equal(await docker('exec', id, ...SHOW), '[first-value]');
    assert.match((await run('docker', ['run', '--rm', ...PW, 'busybox', 'true'])).stderr, /the core at .* cannot be reached/);
    await purser.startCore();
    await docker('rm', '-f', id);
    await eventually('the agent to be back', async () => await docker('run', '--rm', ...PW, 'busybox', ...SHOW) === '[first-value]');
  });

  test('an agent killed between create and start is followed by one that knows the values', async () => {
    const [waiting, go, runtime] = ['waiting', 'go', 'paused-runtime'].map((name) => join(FOLDER, name)) as [string, string, string];
    writeFileSync(runtime, `#!/bin/sh\ncase " $* " in *" start "*) : > ${waiting}; while [ ! -e ${go} ]; do sleep 0.05; done;; esac\nexec ${RUNTIME} "$@"\n`, { mode: 0o755 });
    const configuration = JSON.parse(readFileSync('/etc/docker/daemon.json', 'utf8')) as { runtimes: object };
    writeFileSync('/etc/docker/daemon.json', JSON.stringify({ ...configuration, runtimes: { ...configuration.runtimes, paused: { path: runtime } } }));
    await must('sh', ['-c', 'kill -HUP "$(cat /run/docker.pid)"']);
    await eventually('the runtime', async () => (await docker('info', '--format', '{{json .Runtimes}}')).includes('paused'));
    const container = docker('run', '--rm', '--runtime', 'paused', ...PW, 'busybox', ...SHOW);
    await eventually('create', () => existsSync(waiting));
    await purser.end('agent', 'SIGKILL');
    await purser.startAgent();
    rmSync(waiting);
    writeFileSync(go, '');
    assert.equal(await container, '[first-value]');
    writeFileSync('/etc/docker/daemon.json', JSON.stringify(configuration));
    await must('sh', ['-c', 'kill -HUP "$(cat /run/docker.pid)"']);
  });

  test('purser.env=files-only: a file and NAME_FILE, no value in any environment', async () => {
    const id = await docker('run', '-d', '-l', 'purser.env=files-only', '--user', '1000', ...PW, '-e', 'A=plain', 'busybox', 'sleep', '600');
    const look = ['sh', '-c', 'echo "${PW-unset} $PW_FILE $A $(cat $PW_FILE)"'];
    assert.equal(await docker('exec', id, ...look), 'unset /run/secrets/PW plain first-value');
    assert.equal(await docker('exec', id, 'sh', '-c', 'tr "\\0" "\\n" < /proc/1/environ | grep ^PW'), 'PW_FILE=/run/secrets/PW');
    await purser.put('secret/db/prod', { user: 'app', password: 'in-place' });
    await eventually('the rotation', async () => (await docker('exec', id, 'cat', '/run/secrets/PW')) === 'in-place');
    await purser.put('secret/db/prod', { user: 'app', password: 'first-value' });
    await docker('rm', '-f', id);
  });

  test('purser.env=files-only: a reference inside a longer text becomes a file with the whole text, rendered anew', async () => {
    const id = await docker('run', '-d', '-l', 'purser.env=files-only', '-e', `URL=db://app:\${${REF}}@db`, 'busybox', 'sh', '-c', 'echo "${URL-unset} $URL_FILE" > /dev/shm/main; sleep 600');
    assert.equal(await docker('exec', id, 'sh', '-c', 'cat /dev/shm/main; echo "${URL-unset} $URL_FILE $(cat $URL_FILE)"'), 'unset /run/secrets/URL\nunset /run/secrets/URL db://app:first-value@db');
    await purser.put('secret/db/prod', { user: 'app', password: 'in-place' });
    await eventually('the rotation', async () => (await docker('exec', id, 'cat', '/run/secrets/URL')) === 'db://app:in-place@db');
    await purser.put('secret/db/prod', { user: 'app', password: 'first-value' });
    await docker('rm', '-f', id);
  });

  test('variables beside files and NAME_FILE, and many starts at once', async () => {
    assert.equal(await docker('run', '--rm', ...PW, '-e', `F_FILE=${REF}`, '-l', 'purser.file.x=purser://secret/db/prod#user', 'busybox', 'sh', '-c', 'echo "$PW $(cat $F_FILE) $(cat /run/secrets/x)"'), 'first-value first-value app');
    const outputs = await Promise.all(Array.from({ length: 6 }, (_, index) => docker('run', '--rm', '-e', `V=purser://secret/db/many#f${index}`, 'busybox', 'sh', '-c', 'echo $V')));
    assert.deepEqual(outputs, Array.from({ length: 6 }, (_, index) => `value-${index}`));
  });

  test('a child of the main process inherits the value, as the README says', async () => {
    const id = await docker('run', '-d', ...PW, 'busybox', 'sh', '-c', 'sleep 600 & wait');
    assert.match(await eventually('the child', async () => await docker('exec', id, 'sh', '-c', 'cat /proc/$(pidof sleep)/environ') || undefined), /PW=first-value/);
    await docker('rm', '-f', id);
  });
});

describe('secrets in variables of Swarm services', () => {
  let purser: Installation;
  before(async () => {
    await docker('swarm', 'init', '--advertise-addr', '10.213.0.1');
    purser = await Installation.start();
    await purser.put('secret/db/prod', { password: 'swarm-value' });
    // Only this service may read it.
    await purser.purser('workload', 'write', 'everything', '--policy', 'db', '--service', 'app');
  });
  after(async () => {
    await run('docker', ['service', 'rm', 'app']);
    await eventually('the tasks to end', async () => (await docker('ps', '--quiet')) === '');
    await purser.stop();
    await docker('swarm', 'leave', '--force');
  });

  test('docker service create -e works through the default runtime, and service inspect shows the reference', async () => {
    await docker('service', 'create', '--quiet', '--detach', '--no-resolve-image', '--endpoint-mode', 'dnsrr', '--name', 'app', '--stop-grace-period', '0s', ...PW, 'busybox:latest', 'sh', '-c', 'echo "[$PW]" > /dev/shm/main; exec sleep 600');
    const id = await eventually('the task', async () => await docker('ps', '--quiet', '--no-trunc', '--filter', 'label=com.docker.swarm.service.name=app') || undefined, 60_000);
    await eventually('the value', async () => (await docker('exec', id, 'cat', '/dev/shm/main')) === '[swarm-value]');
    assert.equal(await docker('exec', id, ...SHOW), '[swarm-value]');
    for (const shown of [await docker('service', 'inspect', 'app'), await docker('inspect', id)]) {
      assert.ok(shown.includes(REF) && !shown.includes('swarm-value'));
    }
    assert.match((await run('docker', ['run', '--rm', ...PW, 'busybox', 'true'])).stderr, /purser:\/\/secret\/db\/prod#password: /, 'another workload is refused');
  });
});
