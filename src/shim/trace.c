/*
 * Following processes with ptrace(2) until one of them stands at its exec stop. Every tracee has PTRACE_O_EXITKILL: if this process dies,
 * they do, so that nothing runs on with a reference where a value belongs. Therefore a process that may live must be detached, and
 * trace_let_go() does that for all: PTRACE_INTERRUPT, then detach at the stop.
 *
 * The list holds each thread once. A thread may stop before the event of its maker arrives, or end before; so an announced thread is
 * added on hearsay, and one that is no tracee (any more) leaves the list when it is interrupted.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "file.h"
#include "report.h"
#include "trace.h"

static bool holds(const struct trace *t, pid_t tid)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->tids[i] == tid)
			return true;
	return false;
}

static void forget(struct trace *t, pid_t tid)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->tids[i] == tid)
			t->tids[i--] = t->tids[--t->count];
}

static void add(struct trace *t, pid_t tid)
{
	if (holds(t, tid))
		return;
	if (t->count == t->capacity) {
		t->capacity = t->capacity ? 2 * t->capacity : 64;
		t->tids = reallocarray(t->tids, t->capacity, sizeof(*t->tids));
		if (!t->tids)
			die("out of memory", "free some memory, then try again");
	}
	t->tids[t->count++] = tid;
	if (t->letting_go && ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0)
		forget(t, tid);
}

static bool seize_thread(struct trace *t, pid_t tid, enum follow follow)
{
	unsigned long options = PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE;

	if (follow == FOLLOW_CHILDREN)
		options |= PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;
	if (ptrace(PTRACE_SEIZE, tid, 0, options) < 0)
		return false;
	add(t, tid);
	return true;
}

/* Seizes the threads not seized yet. Returns how many, or -1 with errno. */
static int seize_threads(struct trace *t, DIR *tasks, enum follow follow)
{
	struct dirent *entry;
	int fresh = 0;

	rewinddir(tasks);
	while ((entry = readdir(tasks))) {
		pid_t tid = (pid_t)atoi(entry->d_name);
		if (tid <= 0 || holds(t, tid))
			continue;
		if (seize_thread(t, tid, follow))
			fresh++;
		else if (errno != ESRCH) /* A thread may end at any time. */
			return -1;
	}
	return fresh;
}

bool trace_seize(struct trace *t, pid_t pid, enum follow follow)
{
	char *path = format("/proc/%d/task", (int)pid);
	DIR *tasks = opendir(path);
	int fresh, error;

	free(path);
	if (!tasks)
		return false;
	/* Threads of a seized thread are traced from birth; those of one not yet seized show up in the next round. */
	do
		fresh = seize_threads(t, tasks, follow);
	while (fresh > 0);
	error = errno;
	closedir(tasks);
	errno = fresh < 0 ? error : ESRCH;
	return fresh == 0 && holds(t, pid);
}

void trace_resume(pid_t pid, int signal)
{
	/* Fails only for a process that was killed at its stop; its end is told by waitpid(). */
	(void)ptrace(PTRACE_CONT, pid, 0, signal);
}

void trace_detach(struct trace *t, pid_t pid, int signal)
{
	forget(t, pid);
	(void)ptrace(PTRACE_DETACH, pid, 0, signal);
}

static bool stops_group(int signal)
{
	return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

static void note_birth(struct trace *t, pid_t maker)
{
	unsigned long born;

	if (ptrace(PTRACE_GETEVENTMSG, maker, 0, &born) == 0)
		add(t, (pid_t)born);
}

enum trace_news trace_note(struct trace *t, pid_t pid, int status)
{
	int event = status >> 16, signal = WSTOPSIG(status);

	if (!WIFSTOPPED(status)) {
		forget(t, pid);
		return TRACE_ENDED;
	}
	if (event == PTRACE_EVENT_CLONE || event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK)
		note_birth(t, pid);
	if (t->letting_go) {
		trace_detach(t, pid, event ? 0 : signal);
		return TRACE_NOTHING;
	}
	add(t, pid);
	if (event == PTRACE_EVENT_EXEC)
		return TRACE_EXEC;
	if (event == PTRACE_EVENT_STOP && stops_group(signal))
		(void)ptrace(PTRACE_LISTEN, pid, 0, 0);
	else
		trace_resume(pid, event ? 0 : signal);
	return TRACE_NOTHING;
}

void trace_let_go(struct trace *t)
{
	size_t kept = 0;

	t->letting_go = true;
	for (size_t i = 0; i < t->count; i++)
		if (ptrace(PTRACE_INTERRUPT, t->tids[i], 0, 0) == 0)
			t->tids[kept++] = t->tids[i];
	t->count = kept;
}

void trace_kill(struct trace *t)
{
	for (size_t i = 0; i < t->count; i++)
		(void)kill(t->tids[i], SIGKILL);
}

void trace_free(struct trace *t)
{
	free(t->tids);
	*t = (struct trace){ 0 };
}
