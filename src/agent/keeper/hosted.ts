// The two containers that make up an agent as a container, as Docker's API wants them (Engine API 1.41, ContainerCreate). Two, because the holder keeps
// the secret filesystem through every restart and upgrade of the agent. A Swarm service can be neither of them: it can have no device, no process
// namespace of the host and no security options (swarmkit api/specs.proto, ContainerSpec), so the service is the keeper that starts them.

import { createHash } from 'node:crypto';
import type { ContainerCreateOptions } from 'dockerode';

/** Carries the fingerprint of what the container was created from. */
export const KEPT_LABEL = 'com.purser.kept';
export const HOLDER_NAME = 'purser-holder';
export const AGENT_NAME = 'purser-agent';
const STATE_DIRECTORY = '/var/lib/purser/agent';
/** Docker's own bounds are 10 s; an agent that stops tells the core what it has not told yet. */
const STOP_SECONDS = 30;

export interface HostedSettings {
  /** Content-addressed id of the image, so that every change of it is one. */
  readonly imageId: string;
  /** Docker's data root on the host. */
  readonly dockerRoot: string;
  /** More options of `purser agent`. */
  readonly agentArguments: readonly string[];
}

export interface HostedContainer {
  readonly name: string;
  readonly fingerprint: string;
  readonly options: ContainerCreateOptions;
}

/** Both need the host's process ids (FUSE names callers by them) and users, and a mount of theirs must be one of the host. */
const COMMON = {
  Runtime: 'runc', PidMode: 'host', UsernsMode: 'host', CgroupnsMode: 'host', ReadonlyRootfs: true, CapDrop: ['ALL'],
  // Docker's own profiles of AppArmor and SELinux forbid mounts, to whomever.
  SecurityOpt: ['no-new-privileges', 'apparmor=unconfined', 'label=disable'],
  LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '3' } },
};

/** Opens /dev/fuse, mounts, and waits. */
export function holderContainer({ imageId }: Pick<HostedSettings, 'imageId'>): HostedContainer {
  return hosted(HOLDER_NAME, {
    Image: imageId, Entrypoint: ['/purser-runtime'], Cmd: ['purser-holder'], StopTimeout: STOP_SECONDS,
    HostConfig: {
      // Never by itself: an agent that still has the connection of the old one must go first.
      ...COMMON, RestartPolicy: { Name: 'no' }, NetworkMode: 'none', CapAdd: ['SYS_ADMIN'],
      Devices: [{ PathOnHost: '/dev/fuse', PathInContainer: '/dev/fuse', CgroupPermissions: 'rw' }],
      Binds: ['/run/purser:/run/purser:rshared'],
    },
  });
}

/** `purser agent`. It gets /dev/fuse from the holder, and mounts over Docker's secret files, which are below Docker's root. */
export function agentContainer({ imageId, dockerRoot, agentArguments }: HostedSettings): HostedContainer {
  return hosted(AGENT_NAME, {
    Image: imageId, Entrypoint: ['/purser-runtime', 'purser-agent', '--holder', 'wait', '--'], Cmd: ['/bin/node', '/purser', 'agent', ...agentArguments], StopTimeout: STOP_SECONDS,
    HostConfig: {
      ...COMMON, RestartPolicy: { Name: 'on-failure' }, NetworkMode: 'host',
      // As deploy/purser-agent.service, but for what the runtime needs.
      CapAdd: ['SYS_ADMIN', 'DAC_OVERRIDE', 'DAC_READ_SEARCH', 'CHOWN', 'FOWNER', 'SYS_PTRACE', 'KILL'],
      Binds: [
        '/run/purser:/run/purser:rshared', `${dockerRoot}:${dockerRoot}:rshared`, '/run/docker.sock:/run/docker.sock', '/run/docker/plugins:/run/docker/plugins',
        // Else the cgroups of other containers would be named from this one's.
        '/sys/fs/cgroup:/sys/fs/cgroup:ro', `${STATE_DIRECTORY}:${STATE_DIRECTORY}`,
      ],
    },
  });
}

function hosted(name: string, options: ContainerCreateOptions): HostedContainer {
  const fingerprint = createHash('sha256').update(JSON.stringify(options)).digest('hex');
  return { name, fingerprint, options: { ...options, name, Labels: { [KEPT_LABEL]: fingerprint } } };
}
