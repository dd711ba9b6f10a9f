#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The first process of a container that waits for `runc start`. */
struct init {
	pid_t pid;
	unsigned long long started; /* field 22 of /proc/PID/stat, which tells it from a later process with the same pid */
	bool waiting;               /* runc's exec.fifo is there: it has not been started yet */
};

/* Reads the bundle path that the agent left for a container with values. 1; 0 when it left none; -1 with a reason. */
int init_bundle(const char *id, char **bundle, char *reason, size_t size);

/* Finds the init by `<bundle>/init.pid`, checked against runc's own state below `root`. False with a reason. */
bool init_find(struct init *init, const char *root, const char *id, const char *bundle, char *reason, size_t size);

/* True while the pid still belongs to the process that was found. */
bool init_is_same(const struct init *init);
