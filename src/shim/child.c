/*
 * runc as a child, for the two verbs that have something to do while it runs. To the caller it looks as if this process were runc: the
 * same arguments, environment, descriptors and signal mask, signals sent here arrive there, and runc does not outlive this process.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "child.h"
#include "refusal.h"
#include "runc.h"
#include "secret.h"

static void become_runc(int gate, pid_t parent, const sigset_t *mask, const struct invocation *call, char **argv)
{
	char go;

	/* PR_SET_PDEATHSIG counts from now on: a parent that died before is seen by getppid(). */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent || read(gate, &go, 1) != 1)
		_exit(1);
	secret_restore_limits();
	sigprocmask(SIG_SETMASK, mask, NULL);
	runc_exec(argv);
	_exit(refuse(call, "purser: runc was not found in PATH or the usual directories (install runc)"));
}

bool child_fork(struct child *c, const struct invocation *call, char **argv)
{
	pid_t parent = getpid();
	sigset_t all, before;
	int gate[2];

	if (pipe2(gate, O_CLOEXEC) < 0)
		return false;
	/* An inherited SIG_IGN would take the news of children away. */
	signal(SIGCHLD, SIG_DFL);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	c->pid = fork();
	if (c->pid == 0) {
		close(gate[1]);
		become_runc(gate[0], parent, &before, call, argv);
	}
	close(gate[0]);
	if (c->pid < 0) {
		close(gate[1]);
		return false;
	}
	c->gate = gate[1];
	return true;
}

void child_open_gate(struct child *c)
{
	/* A child that died meanwhile is seen by waitpid(); SIGPIPE is blocked. */
	while (write(c->gate, "", 1) < 0 && errno == EINTR)
		;
	close(c->gate);
	c->gate = -1;
}

void child_wait(const struct child *c, long milliseconds)
{
	struct timespec limit = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
	siginfo_t info;
	sigset_t all;
	int number;

	sigfillset(&all);
	number = sigtimedwait(&all, &info, milliseconds < 0 ? NULL : &limit);
	/* A terminal sends its signals to runc too; those of kill(2) came here alone. */
	if (number > 0 && number != SIGCHLD && number != SIGPIPE && info.si_code <= 0)
		kill(c->pid, number);
}
