#pragma once

#include <stdbool.h>

#include "run_dir.h"

struct ward;

struct warden {
	const struct run_dir *dir;
	int requests, notices, news; /* the sockets, and a signalfd of everything */
	bool is_short;               /* a worker could not be forked: the execs of its ward wait */
	struct ward *wards;
};

/* The life of a warden, in the process that is to be one. */
__attribute__((noreturn)) void warden_run(struct warden *warden);
