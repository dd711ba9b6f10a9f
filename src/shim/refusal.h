#pragma once

#include "args.h"

#define REASON_MAX 4096

/* Says `reason` where dockerd and a person will see it. Returns 1, the exit status of every refusal. */
int refuse(const struct invocation *call, const char *reason);

/* The same with the container's name in front. */
int refuse_for(const struct invocation *call, const char *reason);
