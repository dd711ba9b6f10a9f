#pragma once

#include <stddef.h>

#include "shown.h"

/* A seccomp listener, and what a process that serves it shares with the one that comes after it. */
struct listener {
	int fd;
	struct seccomp_notif *notice; /* shared memory: a notice that was taken and not answered, else id 0 */
	size_t notice_size;
};

/* What the kernel lacks for listeners, or NULL. */
const char *listener_missing(void);

/* Makes the shared memory for a listener. False with errno. */
bool listener_init(struct listener *l, int fd);

void listener_free(struct listener *l);

/* True when no process is left that could exec. */
bool listener_is_over(const struct listener *l);

/* Serves the listener until it is over. `d` may be NULL: then every execve just goes on. SIGCHLD must be blocked. */
void listener_serve(const struct listener *l, const struct delivered *d);
