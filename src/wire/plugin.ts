// Docker's legacy plugin protocol (moby: pkg/plugins), as far as agent and driver share it. Docker finds a plugin by its socket's name,
// asks it once in dockerd's life what it implements, and goes on with the same path. So there is one path, and whoever answers there
// announces both: the agent, which serves the volumes, or the driver, which serves Swarm's secrets and hands the calls for volumes on.

/** Where Docker looks for `purser`. */
export const PLUGIN_SOCKET = '/run/docker/plugins/purser.sock';
/** The agent's own socket for these calls, below its run directory; PLUGIN_SOCKET is a link to it while no driver runs. */
export const AGENT_PLUGIN_SOCKET = 'plugin.sock';
export const PLUGIN_IMPLEMENTS: readonly string[] = ['secretprovider', 'VolumeDriver'];
export const DOCKER_PLUGIN_TYPE = 'application/vnd.docker.plugins.v1.2+json';
