/* Unix stream sockets with deadlines. Every descriptor is close-on-exec; the other end is checked to be root before anything is said. */

#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"

#define RETRY_MS 5

long channel_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int address(const char *path, struct sockaddr_un *name)
{
	*name = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(name->sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(name->sun_path, path);
	return 0;
}

/* Waits for `events`. Returns 0, or -1 with errno. */
static int await(int fd, short events, long deadline)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = events };
		long left = deadline - channel_now();
		int n = poll(&p, 1, left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -1;
		if (n == 0 && channel_now() >= deadline) {
			errno = ETIMEDOUT;
			return -1;
		}
	}
}

int channel_peer_is_root(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == 0;
}

static int close_with(int fd, int error)
{
	close(fd);
	errno = error;
	return -1;
}

int channel_connect(const char *path, long deadline)
{
	struct sockaddr_un name;
	int fd;

	if (address(path, &name) < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	while (connect(fd, (struct sockaddr *)&name, sizeof(name)) < 0) {
		/* EAGAIN: the listener's queue is full (many containers start at once); unix sockets offer no event to wait for. */
		if (errno != EAGAIN && errno != EINTR)
			return close_with(fd, errno);
		if (channel_now() >= deadline)
			return close_with(fd, ETIMEDOUT);
		poll(NULL, 0, RETRY_MS);
	}
	if (!channel_peer_is_root(fd))
		return close_with(fd, EPERM);
	return fd;
}

int channel_send(int fd, const char *text, size_t len, long deadline)
{
	while (len > 0) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) {
			text += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			if (await(fd, POLLOUT, deadline) < 0)
				return -1;
		} else if (errno != EINTR) {
			return -1;
		}
	}
	return 0;
}

/* One recv() of at least one byte. Returns its count, or -1 with errno. */
static ssize_t receive(int fd, char *bytes, size_t size, int flags, long deadline)
{
	for (;;) {
		ssize_t n;
		if (await(fd, POLLIN, deadline) < 0)
			return -1;
		n = recv(fd, bytes, size, flags | MSG_DONTWAIT);
		if (n > 0)
			return n;
		if (n == 0)
			errno = ECONNRESET;
		if (n == 0 || (errno != EINTR && errno != EAGAIN))
			return -1;
	}
}

ssize_t channel_read_line(int fd, char *line, size_t size, long deadline)
{
	size_t used = 0;

	while (used < size - 1) {
		/* Looked at first and then taken up to the end of the line: what follows may be values, which have no place in `line`. */
		ssize_t n = receive(fd, line + used, size - 1 - used, MSG_PEEK, deadline);
		char *end = n < 0 ? NULL : memchr(line + used, '\n', (size_t)n);
		if (n < 0)
			return -1;
		if (end) {
			size_t tail = (size_t)(end + 1 - (line + used));
			explicit_bzero(end + 1, (size_t)n - tail);
			n = (ssize_t)tail;
		}
		n = receive(fd, line + used, (size_t)n, 0, deadline);
		if (n < 0)
			return -1;
		used += (size_t)n;
		if (end && line[used - 1] == '\n') {
			line[used - 1] = '\0';
			return (ssize_t)used - 1;
		}
	}
	errno = EMSGSIZE;
	return -1;
}

int channel_read(int fd, char *bytes, size_t size, long deadline)
{
	while (size > 0) {
		ssize_t n = receive(fd, bytes, size, 0, deadline);
		if (n < 0)
			return -1;
		bytes += n;
		size -= (size_t)n;
	}
	return 0;
}

int channel_listen(const char *path)
{
	struct sockaddr_un name;
	mode_t mask;
	int fd, bound;

	if (address(path, &name) < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	/* The mode must be right from the first moment: a chmod after bind() would leave a gap. */
	mask = umask(0177);
	bound = bind(fd, (struct sockaddr *)&name, sizeof(name));
	umask(mask);
	if (bound < 0 || listen(fd, 16) < 0)
		return close_with(fd, errno);
	return fd;
}
