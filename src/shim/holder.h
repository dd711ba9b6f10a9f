#pragma once

#define HOLDER_FDS 3 /* /dev/fuse, then the two state files */

/* Where things are in a run directory. */
struct run_dir {
	char *path, *lock, *socket, *fs, *ro;
};

/* Mounts, creates the state files and leaves a detached holder process behind. Ends the process with an error when it cannot. */
void holder_start(const struct run_dir *dir, int argc, char **argv);

/* Sends the descriptors through a connection / receives them. 0, or -1 with errno. */
int holder_send_fds(int connection, const int fds[HOLDER_FDS]);
int holder_receive_fds(int connection, int fds[HOLDER_FDS]);
