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
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "file.h"
#include "json.h"
#include "listener.h"
#include "report.h"
#include "runc.h"
#include "secret.h"
#include "warden.h"

#define SOCKET PURSER_RUN_DIR "/warden.sock"
#define TITLE "purser-warden"
#define REQUEST_MS 2000
#define ANSWER_MS 5000
/* Go connects without waiting, and fails when the queue is full. */
#define BACKLOG 1024
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

struct warden {
	const struct run_dir *dir;
	int requests, notices, news;
	bool is_short; /* a worker could not be forked: the execs of its ward wait */
	struct ward *wards;
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

static __attribute__((noreturn)) void run(struct warden *warden)
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

/* To look into and change any process is all that is needed from now on. */
static bool keep_ptrace_only(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { .effective = 1u << CAP_SYS_PTRACE, .permitted = 1u << CAP_SYS_PTRACE } };

	return syscall(SYS_capset, &header, data) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

static bool become_warden(void)
{
	struct rlimit files;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		/* Best effort: in a container or without CAP_SYS_RESOURCE the kernel refuses. */
		(void)!write(fd, "-900", 4);
		close(fd);
	}
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	secret_protect_process();
	(void)prctl(PR_SET_NAME, TITLE);
	return null >= 0 && chdir("/") == 0 && dup2(null, 0) >= 0 && dup2(null, 1) >= 0 && dup2(null, 2) >= 0 && keep_ptrace_only();
}

static int listen_on(const char *path)
{
	int fd;

	if ((unlink(path) < 0 && errno != ENOENT) || (fd = channel_listen(path)) < 0 || listen(fd, BACKLOG) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		die(format("the socket %s cannot be created: %s", path, strerror(errno)), "free the disk or choose a shorter --run-dir");
	return fd;
}

/* `runc features` names the seccomp actions that this runc and its libseccomp know; runc before 1.1 does not have it. */
static void require_runc(void)
{
	static char text[65536];
	char *argv[] = { (char *)"runc", (char *)"features", NULL };
	size_t used = 0;
	int out[2], status;
	ssize_t n;
	pid_t child;

	if (pipe2(out, O_CLOEXEC) < 0 || (child = fork()) < 0)
		die(format("runc cannot be asked: %s", strerror(errno)), "free some memory, then try again");
	if (child == 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
		if (dup2(out[1], 1) >= 0 && null >= 0 && dup2(null, 2) >= 0)
			runc_exec(argv);
		_exit(127);
	}
	close(out[1]);
	while ((n = read(out[0], text + used, sizeof(text) - 1 - used)) > 0 || (n < 0 && errno == EINTR))
		used += n > 0 ? (size_t)n : 0;
	close(out[0]);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || !strstr(text, "\"SCMP_ACT_NOTIFY\""))
		die("this runc cannot hand over seccomp notifications", "runc 1.1 or newer with libseccomp 2.5 or newer is needed");
}

void warden_start(const struct run_dir *dir, int lock)
{
	struct warden warden = { .dir = dir };
	const char *missing = listener_missing();
	sigset_t all;
	pid_t child;

	if (missing)
		die(missing, "use purser.env=files-only instead of strict");
	signal(SIGCHLD, SIG_DFL);
	require_runc();
	warden.requests = listen_on(dir->warden);
	warden.notices = listen_on(dir->notices);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	warden.news = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	child = warden.news < 0 ? -1 : fork();
	if (child < 0)
		die("the warden cannot be started", "free some memory, then try again");
	if (child > 0) {
		int status;
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			die("the warden cannot be started", "free some memory, then try again");
		return;
	}
	/* A second fork: init adopts the warden, so the agent never has a child it does not know. */
	if (setsid() < 0 || (child = fork()) < 0)
		_exit(1);
	if (child > 0)
		_exit(0);
	close(lock);
	if (!become_warden())
		_exit(1);
	run(&warden);
}

void warden_release(const struct run_dir *dir)
{
	long deadline = channel_now() + ANSWER_MS;
	int fd = channel_connect(dir->warden, deadline);
	char answer[8];

	if (fd < 0)
		return;
	if (channel_send(fd, "release\n", 8, deadline) == 0)
		(void)channel_read_line(fd, answer, sizeof(answer), deadline);
	close(fd);
}

bool warden_tell(pid_t pid, const struct environment *e, char *reason, size_t size)
{
	long deadline = channel_now() + ANSWER_MS;
	char *line = format("delivered %d %zu %zu\n", (int)pid, e->size, e->references), answer[32] = "";
	int fd = channel_connect(SOCKET, deadline);
	bool told = fd >= 0 && channel_send(fd, line, strlen(line), deadline) == 0 && channel_send(fd, e->payload, e->size + e->references, deadline) == 0
		&& channel_read_line(fd, answer, sizeof(answer), deadline) > 0;

	if (fd >= 0)
		close(fd);
	free(line);
	if (told && strcmp(answer, "ok") == 0)
		return true;
	snprintf(reason, size, "the warden, which purser.env=strict needs, %s", !told ? "does not answer (see the agent's log)" : "did not get this process from runc");
	return false;
}
