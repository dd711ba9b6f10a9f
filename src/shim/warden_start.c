/*
 * How a warden begins: what it needs of kernel and runc is looked at while somebody reads the error; then two forks, and it is nobody's child,
 * with no right but to trace.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
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
#include "listener.h"
#include "report.h"
#include "runc.h"
#include "secret.h"
#include "warden.h"
#include "warden_run.h"

#define TITLE "purser-warden"
/* Go connects without waiting, and fails when the queue is full. */
#define BACKLOG 1024

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
	warden_run(&warden);
}
