/*
 * Serves one seccomp listener (seccomp_unotify(2)): the kernel asks before each execve of the processes below it. The caller is seized, the
 * execve goes on (SECCOMP_USER_NOTIF_FLAG_CONTINUE), and at its exec stop the inherited values are hidden (conceal.c) before it is let go.
 *
 * Nothing is decided by what the notice says, which may change under way: the new program is looked at, not the old one's arguments. A process that
 * cannot be seized (a debugger has it, or Purser's own shim) goes on as it is. None of the tracees has PTRACE_O_EXITKILL: if this process
 * dies, they go on, and its successor answers the notice that it had taken.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "conceal.h"
#include "file.h"
#include "listener.h"

/* Linux 6.6: caller and worker take turns on one processor, which spares a wakeup from idle. Not in Debian 12's headers. */
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1
#endif

/* Between execve and exec stop, all at the same time. Further ones go on as they are. */
#define TRACEES_MAX 256
/* An execve that failed makes no stop: the caller is looked after at this pace, and let go when it does something else. */
#define LOOK_MS 50
#define RUNNING_MS 1000
#define FOREVER_MS 30000

struct tracee_at_exec {
	pid_t tid;
	long since;
};

struct service {
	const struct listener *listener;
	const struct delivered *delivered;
	struct tracee_at_exec tracees[TRACEES_MAX];
	size_t count;
	long looked;
};

const char *listener_missing(void)
{
	uint32_t action = SECCOMP_RET_USER_NOTIF;
	struct seccomp_notif_sizes sizes;

	/* With Linux 5.9 came the hangup of a listener that nobody needs any more, and close_range(2). */
	if (syscall(SYS_close_range, ~0U, ~0U, 0) < 0 && errno == ENOSYS)
		return "Linux 5.9 or newer is needed";
	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0 || syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
		return "the kernel has no seccomp notifications";
	return NULL;
}

bool listener_init(struct listener *l, int fd)
{
	struct seccomp_notif_sizes sizes = { 0 };

	/* A newer kernel may write more than this program knows of. */
	(void)syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes);
	l->fd = fd;
	l->notice_size = sizes.seccomp_notif > sizeof(*l->notice) ? sizes.seccomp_notif : sizeof(*l->notice);
	l->notice = mmap(NULL, l->notice_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return l->notice != MAP_FAILED;
}

void listener_free(struct listener *l)
{
	close(l->fd);
	munmap(l->notice, l->notice_size);
}

bool listener_is_over(const struct listener *l)
{
	struct pollfd p = { .fd = l->fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR | POLLNVAL)) && !(p.revents & POLLIN);
}

static size_t find(const struct service *s, pid_t tid)
{
	size_t i = 0;

	while (i < s->count && s->tracees[i].tid != tid)
		i++;
	return i;
}

static void forget(struct service *s, pid_t tid)
{
	size_t i = find(s, tid);

	if (i < s->count)
		s->tracees[i] = s->tracees[--s->count];
}

static bool is_valid(const struct service *s)
{
	return ioctl(s->listener->fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &s->listener->notice->id) == 0;
}

static void seize(struct service *s, pid_t tid)
{
	size_t i = find(s, tid);

	if (tid <= 0 || !s->delivered)
		return;
	if (i < s->count) {
		s->tracees[i].since = channel_now(); /* Its last execve failed, or a signal came in between. */
		return;
	}
	if (s->count == TRACEES_MAX || ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACEEXEC) < 0)
		return;
	s->tracees[s->count++] = (struct tracee_at_exec){ tid, channel_now() };
	/* The caller may have died and its id passed on before it was seized. */
	if (!is_valid(s))
		(void)ptrace(PTRACE_INTERRUPT, tid, 0, 0);
}

static void go_on(const struct service *s)
{
	struct seccomp_notif *notice = s->listener->notice;
	struct seccomp_notif_resp answer = { .id = notice->id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };

	/* ENOENT: the caller is gone, or was interrupted by a signal and will ask again. */
	(void)ioctl(s->listener->fd, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	notice->id = 0;
}

static void answer(struct service *s)
{
	struct seccomp_notif *notice = s->listener->notice;

	memset(notice, 0, s->listener->notice_size);
	if (ioctl(s->listener->fd, SECCOMP_IOCTL_NOTIF_RECV, notice) < 0)
		return; /* ENOENT: the caller is gone. */
	seize(s, (pid_t)notice->pid);
	go_on(s);
}

static void note_exec(struct service *s, pid_t pid)
{
	unsigned long caller = 0;

	/* A thread that execs takes over the id of its process. */
	(void)ptrace(PTRACE_GETEVENTMSG, pid, 0, &caller);
	forget(s, (pid_t)caller);
	forget(s, pid);
	conceal_values(pid, s->delivered);
	(void)ptrace(PTRACE_DETACH, pid, 0, 0);
}

static void note(struct service *s, pid_t pid, int status)
{
	int event = status >> 16, signal = WSTOPSIG(status);

	if (!WIFSTOPPED(status)) {
		forget(s, pid);
	} else if (event == PTRACE_EVENT_EXEC) {
		note_exec(s, pid);
	} else if (event) {
		/* Interrupted because it does not exec after all, or stopped by job control, which detaching does not end. */
		forget(s, pid);
		(void)ptrace(PTRACE_DETACH, pid, 0, 0);
	} else {
		(void)ptrace(PTRACE_CONT, pid, 0, signal);
	}
}

static void note_all(struct service *s)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, __WALL | WNOHANG)) > 0)
		note(s, pid, status);
}

enum doing { EXECUTING, RUNNING, OTHER };

/* An interrupt could make a slow execve fail, so it must be known to be over. */
static enum doing look(pid_t tid)
{
	char *path = format("/proc/%d/syscall", (int)tid), line[32] = "";
	FILE *file = fopen(path, "re");
	long number;

	free(path);
	if (!file)
		return OTHER;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	if (sscanf(line, "%ld", &number) != 1)
		return RUNNING;
	return number == SYS_execve || number == SYS_execveat ? EXECUTING : OTHER;
}

static void look_after(struct service *s)
{
	if (channel_now() - s->looked < LOOK_MS)
		return;
	s->looked = channel_now();
	for (size_t i = 0; i < s->count; i++) {
		struct tracee_at_exec *t = &s->tracees[i];
		long age = channel_now() - t->since;
		enum doing doing = age < LOOK_MS ? EXECUTING : look(t->tid);
		if (doing == OTHER || (doing == RUNNING && age > RUNNING_MS) || age > FOREVER_MS)
			(void)ptrace(PTRACE_INTERRUPT, t->tid, 0, 0);
	}
}

void listener_serve(const struct listener *l, const struct delivered *d)
{
	struct service *s = allocate(1, sizeof(*s));
	struct signalfd_siginfo info;
	sigset_t children;
	int news;

	s->listener = l;
	s->delivered = d;
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	news = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
	if (news < 0)
		exit(1);
	(void)ioctl(l->fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
	if (l->notice->id)
		go_on(s);
	for (;;) {
		struct pollfd p[2] = { { .fd = l->fd, .events = POLLIN }, { .fd = news, .events = POLLIN } };
		(void)poll(p, 2, s->count ? LOOK_MS : -1);
		while (read(news, &info, sizeof(info)) > 0)
			;
		note_all(s);
		look_after(s);
		if (p[0].revents & POLLIN)
			answer(s);
		else if (p[0].revents)
			break;
	}
	free(s);
	close(news);
}
