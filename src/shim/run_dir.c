/* The run directory: it decides who is asked for descriptors and what is mounted over, so it must be root's alone. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "channel.h"
#include "file.h"
#include "report.h"
#include "run_dir.h"

#define LOCK_MS 10000

struct run_dir run_dir_open(const char *path)
{
	struct stat st;
	char *real = realpath(path, NULL);

	if (!real || stat(real, &st) < 0)
		die(format("the run directory %s cannot be used: %s", path, strerror(errno)), "run the agent as root, or choose another --run-dir");
	if (!S_ISDIR(st.st_mode) || st.st_uid != 0 || (st.st_mode & 022))
		die(format("the run directory %s can be changed by others than root", path), format("chown root %s && chmod 0711 %s", path, path));
	return (struct run_dir){ .path = real, .lock = format("%s/holder.lock", real), .socket = format("%s/holder.sock", real),
		.fs = format("%s/fs", real), .ro = format("%s/ro", real),
		.warden = format("%s/warden.sock", real), .notices = format("%s/notices.sock", real) };
}

int run_dir_lock(const struct run_dir *dir)
{
	long deadline = channel_now() + LOCK_MS;
	int fd = open(dir->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		die(format("the lock %s cannot be opened: %s", dir->lock, strerror(errno)), "run the agent as root");
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if ((errno != EWOULDBLOCK && errno != EINTR) || channel_now() >= deadline)
			die(format("the lock %s cannot be taken: %s", dir->lock, strerror(errno)), "another agent is being started: wait for it, or end it");
		poll(NULL, 0, 20);
	}
	return fd;
}
