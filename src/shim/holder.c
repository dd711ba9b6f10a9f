/*
 * The holder: a tiny process that keeps the FUSE connection and the agent's state files (memfds) open, so that an agent may be killed,
 * restarted or upgraded while containers go on reading. It reads neither: the values in the state files are the agent's business.
 *
 * It ends only by `release` on its socket (or SIGKILL). All other signals are blocked, SIGTERM too: a service manager that stops the
 * agent signals the whole service, and the holder must live through `systemctl restart` (the unit needs KillMode=process). As the main
 * process of a container of its own (`purser-holder`) it takes SIGTERM, which is `docker stop` of that very container, for a release.
 * With the holder gone and no agent running, the connection closes and every mount of it answers ENOTCONN.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "file.h"
#include "holder.h"
#include "mounts.h"
#include "report.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#define TITLE "purser-holder"
#define REQUEST_MS 2000
/* Where the holder keeps its descriptors, so that everything above can be closed: nothing of its caller's may stay open in it. */
enum { FD_FUSE = 3, FD_STATE_A, FD_STATE_B, FD_LISTENER, FD_END };

static __attribute__((noreturn)) void die_of(const char *what, const char *hint)
{
	die(format("%s: %s", what, strerror(errno)), hint);
}

int holder_send_fds(int connection, const int fds[HOLDER_FDS])
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(HOLDER_FDS * sizeof(int))];
	} control = { 0 };
	char byte = 0;
	struct iovec data = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.space) };
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(HOLDER_FDS * sizeof(int));
	memcpy(CMSG_DATA(rights), fds, HOLDER_FDS * sizeof(int));
	return sendmsg(connection, &message, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

int holder_receive_fds(int connection, int fds[HOLDER_FDS])
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(HOLDER_FDS * sizeof(int))];
	} control = { 0 };
	char byte;
	struct iovec data = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.space) };
	struct cmsghdr *rights;
	ssize_t n;

	do
		n = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -1;
	rights = CMSG_FIRSTHDR(&message);
	if (n != 1 || !rights || rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS
	    || rights->cmsg_len != CMSG_LEN(HOLDER_FDS * sizeof(int))) {
		errno = EPROTO;
		return -1;
	}
	memcpy(fds, CMSG_DATA(rights), HOLDER_FDS * sizeof(int));
	return 0;
}

/* Newer kernels can be told to forbid memfds that could be executed (vm.memfd_noexec); older ones do not know the flag. */
static int state_file(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, MFD_CLOEXEC);
	if (fd < 0)
		die_of("the agent's state file cannot be created", "free some memory, then try again");
	return fd;
}

static int open_fuse(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == EACCES || errno == EPERM)
		die_of("/dev/fuse cannot be opened", "run the agent as root, on the host and not in a container");
	die_of("/dev/fuse cannot be opened", "load the fuse kernel module: modprobe fuse");
}

static void make_directory(const char *path)
{
	if (mkdir(path, 0711) < 0 && errno != EEXIST)
		die_of(format("the directory %s cannot be created", path), "run the agent as root");
}

static void clear(const char *path)
{
	if (mounts_clear(path) == 0)
		return;
	if (errno == EBUSY)
		die(format("something else is mounted on %s", path), format("unmount it: umount %s", path));
	die_of(format("the old mount on %s cannot be removed", path), "run the agent as root");
}

static void mount_all(const struct run_dir *dir, int fuse)
{
	clear(dir->ro);
	clear(dir->fs);
	make_directory(dir->fs);
	make_directory(dir->ro);
	if (mounts_make(fuse, dir->fs, dir->ro) == 0)
		return;
	if (errno == ENODEV)
		die("the kernel has no FUSE filesystem", "load the fuse kernel module: modprobe fuse");
	die_of(format("the filesystem cannot be mounted on %s", dir->fs), "run the agent as root, with the right to mount (CAP_SYS_ADMIN)");
}

/* The holder is a fork of the launcher: without this, ps would show the agent's command line for it. */
static void set_title(int argc, char **argv)
{
	char *start = argv[0], *end = argv[argc - 1] + strlen(argv[argc - 1]) + 1;
	size_t room = (size_t)(end - start);

	memset(start, 0, room);
	memcpy(start, TITLE, room > sizeof(TITLE) ? sizeof(TITLE) : room - 1);
	(void)prctl(PR_SET_NAME, TITLE);
}

static void protect_self(void)
{
	const struct rlimit none = { 0, 0 };
	sigset_t all;
	int fd;

	sigfillset(&all);
	if (sigprocmask(SIG_SETMASK, &all, NULL) < 0 || setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
		_exit(1);
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		/* Best effort: in a container or without CAP_SYS_RESOURCE the kernel refuses. */
		(void)!write(fd, "-900", 4);
		close(fd);
	}
}

/* Leaves exactly 0, 1, 2 (on /dev/null) and the four descriptors at their places; an agent's pipe or lock must not live on in here. */
static void keep_only(const int fds[HOLDER_FDS], int listener)
{
	int kept[FD_END] = { [FD_FUSE] = fds[0], [FD_STATE_A] = fds[1], [FD_STATE_B] = fds[2], [FD_LISTENER] = listener };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		_exit(1);
	/* First out of the way, then to their places: the places may be in use by one another. */
	for (int i = FD_FUSE; i < FD_END; i++)
		if ((kept[i] = fcntl(kept[i], F_DUPFD_CLOEXEC, FD_END)) < 0)
			_exit(1);
	for (int i = 0; i < FD_END; i++)
		if (dup3(i < FD_FUSE ? null : kept[i], i, i < FD_FUSE ? 0 : O_CLOEXEC) < 0)
			_exit(1);
	if (syscall(SYS_close_range, FD_END, ~0U, 0) < 0)
		for (int fd = FD_END; fd < 65536; fd++)
			close(fd);
}

static void let_go(const struct run_dir *dir)
{
	(void)mounts_clear(dir->ro);
	(void)mounts_clear(dir->fs);
	(void)unlink(dir->socket);
}

static void serve(int connection, const struct run_dir *dir)
{
	static const int fds[HOLDER_FDS] = { FD_FUSE, FD_STATE_A, FD_STATE_B };
	long deadline = channel_now() + REQUEST_MS;
	char line[16];

	if (!channel_peer_is_root(connection) || channel_read_line(connection, line, sizeof(line), deadline) < 0)
		return;
	if (strcmp(line, "fds") == 0) {
		(void)holder_send_fds(connection, fds);
	} else if (strcmp(line, "release") == 0) {
		let_go(dir);
		(void)channel_send(connection, "ok\n", 3, deadline);
		_exit(0);
	}
}

static volatile sig_atomic_t stopped;

static void on_stop(int signal)
{
	(void)signal;
	stopped = 1;
}

/* Signals count only while it waits, and only those that `waiting` lets through (NULL: none). */
static __attribute__((noreturn)) void run(const struct run_dir *dir, const sigset_t *waiting)
{
	for (;;) {
		struct pollfd next = { .fd = FD_LISTENER, .events = POLLIN };
		int connection;

		if (ppoll(&next, 1, NULL, waiting) < 0 && stopped) {
			let_go(dir);
			_exit(0);
		}
		if (!(next.revents & POLLIN))
			continue;
		connection = accept4(FD_LISTENER, NULL, NULL, SOCK_CLOEXEC);
		if (connection < 0) {
			/* Out of memory or descriptors, or the caller is gone: nothing here can be worth ending the mount. */
			usleep(10000);
			continue;
		}
		serve(connection, dir);
		close(connection);
	}
}

/* Everything that can fail, where somebody reads the error. Fills fds and returns the listener. */
static int prepare(const struct run_dir *dir, int fds[HOLDER_FDS])
{
	int listener;

	fds[0] = open_fuse();
	fds[1] = state_file("purser-state-a");
	fds[2] = state_file("purser-state-b");
	mount_all(dir, fds[0]);
	if ((unlink(dir->socket) < 0 && errno != ENOENT) || (listener = channel_listen(dir->socket)) < 0)
		die_of(format("the socket %s cannot be created", dir->socket), "free the disk or choose a shorter --run-dir");
	return listener;
}

void holder_start(const struct run_dir *dir, int argc, char **argv)
{
	int fds[HOLDER_FDS], listener = prepare(dir, fds), status;
	pid_t child = fork();

	if (child < 0)
		die_of("the holder process cannot be started", "free some memory, then try again");
	if (child == 0) {
		/* A second fork: init adopts the holder, so the agent never has a child it does not know. */
		if (setsid() < 0 || chdir("/") < 0 || (child = fork()) < 0)
			_exit(1);
		if (child > 0)
			_exit(0);
		set_title(argc, argv);
		protect_self();
		keep_only(fds, listener);
		run(dir, NULL);
	}
	/* ECHILD: the caller ignores SIGCHLD. The connection that follows tells whether the holder lives. */
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	for (int i = 0; i < HOLDER_FDS; i++)
		close(fds[i]);
	close(listener);
}

void holder_become(const struct run_dir *dir, int argc, char **argv)
{
	int fds[HOLDER_FDS], listener = prepare(dir, fds);
	const struct sigaction stop = { .sa_handler = on_stop };
	sigset_t all_but_stop;

	sigfillset(&all_but_stop);
	sigdelset(&all_but_stop, SIGTERM);
	if (sigaction(SIGTERM, &stop, NULL) < 0 || chdir("/") < 0)
		die_of("the holder cannot be set up", "start it again");
	set_title(argc, argv);
	protect_self();
	keep_only(fds, listener);
	run(dir, &all_but_stop);
}
