#pragma once

#include "run_dir.h"

#define HOLDER_FDS 3 /* /dev/fuse, then the two state files */

/* Mounts, creates the state files and leaves a detached holder process behind. Ends the process with an error when it cannot. */
void holder_start(const struct run_dir *dir, int argc, char **argv);

/* The same, and this process is the holder: for a container of its own. SIGTERM releases. */
__attribute__((noreturn)) void holder_become(const struct run_dir *dir, int argc, char **argv);

/* Sends the descriptors through a connection / receives them. 0, or -1 with errno. */
int holder_send_fds(int connection, const int fds[HOLDER_FDS]);
int holder_receive_fds(int connection, int fds[HOLDER_FDS]);
