#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "environment.h"
#include "run_dir.h"

/* Leaves a warden behind, which listens when this returns; `lock` stays with the caller. Ends the process with an error when it cannot. */
void warden_start(const struct run_dir *dir, int lock);

/* Asks a running warden to end. The processes that serve running containers stay until these end. */
void warden_release(const struct run_dir *dir);

/* Tells the warden what the process `pid`, at its exec stop, was given. False with a reason. */
bool warden_tell(pid_t pid, const struct environment *e, char *reason, size_t size);
