/*
 * Values for the environment of a process that runc starts (the mechanism: rewrite.c).
 *
 * `start`: the container's init waits in runc's fifo. It is seized with all its threads, `runc start` lets it go on, and its next execve is
 * the program's. `exec`: there is no such point, so runc itself is followed from its first instruction through its forks to the execve
 * whose environment is that of the process file. Either way everything is detached right after, and nothing of ours stays.
 *
 * Fails closed: a process that could not get its values is killed at its exec stop; one that was never seen there is killed too.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "channel.h"
#include "child.h"
#include "deliver.h"
#include "rewrite.h"
#include "trace.h"
#include "warden.h"

/* Between the end of `runc start` and the program's execve: startContainer hooks run there. */
#define EXEC_MS 30000
/* For the stops of what is let go, and the end of what was killed. */
#define END_MS 2000

/* SETTLED: runc's exit status is the answer. */
enum outcome { PENDING, SETTLED, FAILED };

struct delivery {
	struct trace trace;
	struct child runc;
	const struct expected *expected; /* NULL at start */
	const struct init *init;         /* NULL at exec */
	struct environment *environment;
	enum outcome outcome;
	bool runc_ended, init_ended;
	int status;     /* of runc */
	long since;     /* when runc ended, or before that, when the delivery failed */
	char *reason;
	size_t size;
};

static void fail(struct delivery *d, const char *reason)
{
	if (reason != d->reason)
		snprintf(d->reason, d->size, "%s", reason);
	d->outcome = FAILED;
	d->since = channel_now();
}

static int exit_status(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void note_exec(struct delivery *d, pid_t pid)
{
	switch (rewrite_environment(pid, d->environment, d->expected, d->reason, d->size)) {
	case REWRITE_OTHER:
		trace_resume(pid, 0);
		return;
	case REWRITE_DONE:
		/* Before it has a child that could inherit. */
		if (d->environment->references && !warden_tell(pid, d->environment, d->reason, d->size)) {
			fail(d, d->reason);
			kill(pid, SIGKILL);
			break;
		}
		d->outcome = SETTLED;
		trace_detach(&d->trace, pid, 0);
		break;
	case REWRITE_FAILED:
		fail(d, d->reason);
		kill(pid, SIGKILL);
		break;
	}
	environment_free(d->environment);
	trace_let_go(&d->trace);
}

static void note_end(struct delivery *d, pid_t pid, int status)
{
	if (pid == d->runc.pid) {
		d->runc_ended = true;
		d->status = exit_status(status);
		d->since = channel_now();
	}
	if (d->init && pid == d->init->pid)
		d->init_ended = true;
}

/* runc has ended, and no process has got its values. */
static void judge_start(struct delivery *d)
{
	if (d->init_ended) {
		d->outcome = SETTLED; /* Its execve failed, as it would have without us; runc and its init have said why. */
	} else if (d->status != 0) {
		/* runc has said why. A container that runs already must not suffer; one that waits must not go on without us. */
		if (d->init->waiting)
			kill(d->init->pid, SIGKILL);
		d->outcome = SETTLED;
	} else if (channel_now() - d->since > EXEC_MS) {
		kill(d->init->pid, SIGKILL);
		fail(d, "its program did not begin in time");
	}
}

static void judge_exec(struct delivery *d)
{
	/* runc sees its pipe closed by the execve, so it may end before the exec stop is told. */
	if (d->status == 0 && d->trace.count > 0 && channel_now() - d->since < END_MS)
		return;
	if (d->status == 0)
		fail(d, "the process was not seen when it began");
	else
		d->outcome = SETTLED; /* runc's own error, such as "executable file not found". */
	trace_kill(&d->trace);
}

static void judge(struct delivery *d)
{
	if (d->init)
		judge_start(d);
	else
		judge_exec(d);
	if (d->outcome == PENDING)
		return;
	environment_free(d->environment);
	trace_let_go(&d->trace);
}

static void note_all(struct delivery *d)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
		switch (trace_note(&d->trace, pid, status)) {
		case TRACE_EXEC:
			note_exec(d, pid);
			break;
		case TRACE_ENDED:
			note_end(d, pid, status);
			break;
		case TRACE_NOTHING:
			break;
		}
	}
}

static bool is_over(const struct delivery *d)
{
	return d->outcome != PENDING && d->runc_ended && (d->trace.count == 0 || channel_now() - d->since > END_MS);
}

static int run(struct delivery *d)
{
	for (;;) {
		note_all(d);
		if (d->runc_ended && d->outcome == PENDING)
			judge(d);
		if (is_over(d))
			break;
		/* Without its process runc has nothing left to do but to fail. */
		if (d->outcome == FAILED && !d->runc_ended && channel_now() - d->since > END_MS)
			kill(d->runc.pid, SIGKILL);
		child_wait(&d->runc, d->runc_ended || d->outcome == FAILED ? 100 : -1);
	}
	trace_free(&d->trace);
	return d->outcome == FAILED ? -1 : d->status;
}

/* Ends what has begun, before runc did anything. */
static int give_up(struct delivery *d, const char *reason)
{
	fail(d, reason);
	kill(d->runc.pid, SIGKILL);
	trace_let_go(&d->trace);
	return run(d);
}

static int give_up_by_errno(struct delivery *d, const char *what)
{
	snprintf(d->reason, d->size, "%s: %s", what, strerror(errno));
	return give_up(d, d->reason);
}

static bool fork_runc(struct delivery *d, const struct invocation *call, char **argv)
{
	if (child_fork(&d->runc, call, argv))
		return true;
	snprintf(d->reason, d->size, "runc cannot be started: %s", strerror(errno));
	return false;
}

int deliver_at_start(const struct invocation *call, char **argv, const struct init *init, struct environment *e, char *reason, size_t size)
{
	struct delivery d = { .init = init, .environment = e, .reason = reason, .size = size };

	if (!fork_runc(&d, call, argv))
		return -1;
	if (!trace_seize(&d.trace, init->pid, FOLLOW_THREADS)) {
		int error = errno;
		if (init->waiting && init_is_same(init))
			kill(init->pid, SIGKILL);
		errno = error;
		return give_up_by_errno(&d, "its first process cannot be traced");
	}
	/* Seized, its pid cannot pass to another process any more; until then it could. */
	if (!init_is_same(init))
		return give_up(&d, "its first process has ended");
	child_open_gate(&d.runc);
	return run(&d);
}

int deliver_at_exec(const struct invocation *call, char **argv, const struct expected *expected, struct environment *e, char *reason, size_t size)
{
	struct delivery d = { .expected = expected, .environment = e, .reason = reason, .size = size };

	if (!fork_runc(&d, call, argv))
		return -1;
	if (!trace_seize(&d.trace, d.runc.pid, FOLLOW_CHILDREN))
		return give_up_by_errno(&d, "runc cannot be traced");
	child_open_gate(&d.runc);
	return run(&d);
}
