#pragma once

#include <stddef.h>

#include "args.h"
#include "environment.h"
#include "expected.h"
#include "init.h"

/*
 * Both run runc with the original arguments and see to it that the container's process gets the environment. They return runc's exit status,
 * or -1 with a reason after the process was killed. The environment is wiped as soon as it is delivered.
 */
int deliver_at_start(const struct invocation *call, char **argv, const struct init *init, struct environment *e, char *reason, size_t size);
int deliver_at_exec(const struct invocation *call, char **argv, const struct expected *expected, struct environment *e, char *reason, size_t size);
