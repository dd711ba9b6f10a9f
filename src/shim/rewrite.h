#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "environment.h"
#include "expected.h"

enum rewrite {
	REWRITE_DONE,
	REWRITE_OTHER,  /* not the expected process; untouched */
	REWRITE_FAILED, /* `reason` says why; the process must not run on */
};

/* Gives the tracee `pid`, at its exec stop, the environment `e`. Without `expected` every process is the right one. */
enum rewrite rewrite_environment(pid_t pid, const struct environment *e, const struct expected *expected, char *reason, size_t size);
