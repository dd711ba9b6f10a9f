#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include "args.h"

/* runc as a child of this process. Everything of `signals` is blocked here meanwhile, and taken by child_wait(). */
struct child {
	pid_t pid;
	int gate;
};

/* Forks a child that will become runc once child_open_gate() is called; it dies with this process. False with errno. */
bool child_fork(struct child *c, const struct invocation *call, char **argv);

void child_open_gate(struct child *c);

/* Sleeps until a process changed its state or `milliseconds` are over (negative: no end); hands other signals on to runc. */
void child_wait(const struct child *c, long milliseconds);
