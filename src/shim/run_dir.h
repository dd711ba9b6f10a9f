#pragma once

/* Where things are in a run directory. */
struct run_dir {
	char *path, *lock, *socket, *fs, *ro;
	char *warden, *notices; /* the warden's sockets: for the shim, and for runc's listeners */
};

/* Opens the directory, which nobody but root may be able to change. Ends the process with an error when it cannot be used. */
struct run_dir run_dir_open(const char *path);

/* One starter or releaser at a time. Returns the descriptor that keeps the lock; ends the process when it cannot be had. */
int run_dir_lock(const struct run_dir *dir);
