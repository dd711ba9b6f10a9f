/*
 * The warden keeps the seccomp listeners of containers with `purser.env=strict` (src/wire/PROTOCOL.md section 4). runc sends it one for
 * each container and each `runc exec`; the shim tells what was delivered to that process; a worker (listener.c) is forked for each.
 *
 * An execve whose listener is closed fails with ENOSYS, so each listener is open in two processes that do not need one another: a worker that dies is
 * replaced, with the notice it had taken, and workers go on without the warden. Both are out of reach of the OOM killer as far as the kernel allows,
 * ignore every signal but SIGKILL, and have no right but to trace.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "file.h"
#include "json.h"
#include "listener.h"
#include "report.h"
#include "secret.h"
#include "warden_run.h"

#define REQUEST_MS 2000
#define STATE_MAX (1u << 20)
#define RETRY_MS 100

/* The processes below one seccomp filter: a container's, or those of one `runc exec`. */
struct ward {
	struct listener listener;
	pid_t pid;    /* the first of them */
	pid_t worker;
	struct delivered *delivered; /* NULL until the shim has told */
	struct ward *next;
};

static void free_delivered(struct delivered *d)
{
	if (!d)
		return;
	environment_free(&d->values);
	environment_free(&d->references);
	free(d);
}

static void free_ward(struct ward *w)
{
	listener_free(&w->listener);
	free_delivered(w->delivered);
	free(w);
}

/* What belongs to the other wards has no place in a worker. */
static void keep_only(struct warden *warden, const struct ward *kept)
{
	close(warden->requests);
	close(warden->notices);
	close(warden->news);
	for (struct ward *w = warden->wards, *next; w; w = next) {
		next = w->next;
		if (w != kept)
			free_ward(w);
	}
}

static void fork_worker(struct warden *warden, struct ward *w)
{
	w->worker = fork();
	if (w->worker == 0) {
		keep_only(warden, w);
		listener_serve(&w->listener, w->delivered);
		_exit(0);
	}
	warden->is_short = warden->is_short || w->worker < 0;
}

static void end_worker(struct ward *w)
{
	if (w->worker <= 0)
		return;
	(void)kill(w->worker, SIGKILL);
	while (waitpid(w->worker, NULL, 0) < 0 && errno == EINTR)
		;
}

static void note_ends(struct warden *warden)
{
	struct signalfd_siginfo info;
	pid_t pid;

	while (read(warden->news, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		for (struct ward *w = warden->wards; w; w = w->next)
			if (w->worker == pid)
				w->worker = -1;
	warden->is_short = false;
	for (struct ward **at = &warden->wards, *w; (w = *at);) {
		if (w->worker > 0) {
			at = &w->next;
		} else if (listener_is_over(&w->listener)) {
			*at = w->next;
			free_ward(w);
		} else {
			fork_worker(warden, w);
			at = &w->next;
		}
	}
}

/* The process that runc has started, from its ContainerProcessState (OCI runtime specification, config-linux.md); 0: not understood. */
static pid_t state_pid(char *text, size_t len)
{
	unsigned long long pid = 0;
	struct span key;
	struct json j;

	json_init(&j, text, len);
	if (json_object(&j))
		while (json_key(&j, &key)) {
			if (span_is(key, "pid"))
				json_unsigned(&j, &pid);
			else
				json_skip(&j);
		}
	return json_done(&j) && pid > 0 && pid <= INT32_MAX ? (pid_t)pid : 0;
}

/* One piece, and the descriptor that came with it. */
static ssize_t receive_piece(int connection, char *bytes, size_t size, int *fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec data = { bytes, size };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.space) };
	ssize_t n = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
	struct cmsghdr *rights = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;

	if (rights && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS && rights->cmsg_len == CMSG_LEN(sizeof(int))) {
		if (*fd >= 0)
			close(*fd);
		memcpy(fd, CMSG_DATA(rights), sizeof(int));
	}
	return n;
}

/*
 * The process of the state that runc sends, and its listener. runc sends one message and keeps the connection open (measured: until it ends), so
 * the end of the JSON text is the end of the message. 0: not understood.
 */
static pid_t receive_state(int connection, int *fd)
{
	const struct timeval limit = { .tv_sec = REQUEST_MS / 1000 };
	char *text = allocate(2, STATE_MAX), *copy = text + STATE_MAX;
	size_t len = 0;
	pid_t pid = 0;
	ssize_t n = setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ? -1 : 1;

	while (n > 0 && !pid && len < STATE_MAX) {
		n = receive_piece(connection, text + len, STATE_MAX - len, fd);
		if (n <= 0)
			break;
		len += (size_t)n;
		memcpy(copy, text, len); /* Reading it decodes it in place. */
		pid = state_pid(copy, len);
	}
	free(text);
	return pid;
}

static void take_listener(struct warden *warden, int connection)
{
	int fd = -1;
	pid_t pid = receive_state(connection, &fd);
	struct ward *w;

	if (!pid || fd < 0) {
		/* Its execve fails, and runc says so: better than one that nobody looks at. */
		if (fd >= 0)
			close(fd);
		return;
	}
	w = allocate(1, sizeof(*w));
	w->pid = pid;
	if (!listener_init(&w->listener, fd))
		die("out of memory", "free some memory, then try again");
	w->next = warden->wards;
	warden->wards = w;
	fork_worker(warden, w);
}

/* Every listener that has been sent until now. */
static void take_listeners(struct warden *warden)
{
	int connection;

	while ((connection = accept4(warden->notices, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		if (channel_peer_is_root(connection))
			take_listener(warden, connection);
		close(connection);
	}
}

/* The newest ward of this process: an older one with the same id is over. */
static struct ward *find_ward(struct warden *warden, pid_t pid)
{
	for (struct ward *w = warden->wards; w; w = w->next)
		if (w->pid == pid)
			return w;
	return NULL;
}

static bool receive_part(int connection, struct environment *e, size_t size, long deadline)
{
	environment_init(e, size, 0);
	secret_share(e->payload, size ? size : 1);
	return channel_read(connection, e->payload, size, deadline) == 0 && environment_parse(e);
}

/* `delivered <pid> <n> <m>`: n bytes of values and m bytes of references follow. */
static const char *take_delivered(struct warden *warden, int connection, const char *line, long deadline)
{
	size_t values, references;
	struct delivered *d;
	struct ward *w;
	int pid, end = 0;

	if (sscanf(line, "delivered %9d %7zu %7zu%n", &pid, &values, &references, &end) != 3 || line[end] || values > ENVIRONMENT_MAX || references > REFERENCES_MAX)
		return "error not understood\n";
	d = allocate(1, sizeof(*d));
	take_listeners(warden);
	w = find_ward(warden, pid);
	if (!receive_part(connection, &d->values, values, deadline) || !receive_part(connection, &d->references, references, deadline)) {
		free_delivered(d);
		return "error not understood\n";
	}
	if (!w) {
		free_delivered(d);
		return "error unknown\n";
	}
	/* The process stands at its exec stop and has no child: the worker has nothing to do now. */
	end_worker(w);
	free_delivered(w->delivered);
	w->delivered = d;
	fork_worker(warden, w);
	return "ok\n";
}

static void serve(struct warden *warden, int connection)
{
	long deadline = channel_now() + REQUEST_MS;
	const char *answer;
	char line[64];

	if (!channel_peer_is_root(connection) || channel_read_line(connection, line, sizeof(line), deadline) < 0)
		return;
	if (strcmp(line, "release") == 0) {
		(void)unlink(warden->dir->warden);
		(void)unlink(warden->dir->notices);
		(void)channel_send(connection, "ok\n", 3, deadline);
		_exit(0);
	}
	answer = take_delivered(warden, connection, line, deadline);
	(void)channel_send(connection, answer, strlen(answer), deadline);
}

void warden_run(struct warden *warden)
{
	for (;;) {
		struct pollfd p[3] = { { .fd = warden->news, .events = POLLIN }, { .fd = warden->notices, .events = POLLIN }, { .fd = warden->requests, .events = POLLIN } };
		int connection;
		(void)poll(p, 3, warden->is_short ? RETRY_MS : -1);
		note_ends(warden);
		take_listeners(warden);
		if (!(p[2].revents & POLLIN) || (connection = accept4(warden->requests, NULL, NULL, SOCK_CLOEXEC)) < 0)
			continue;
		serve(warden, connection);
		close(connection);
	}
}
