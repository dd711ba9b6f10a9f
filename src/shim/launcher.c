/*
 * Starts the agent with the FUSE connection and its two state files as descriptors 3, 4 and 5 (PURSER_AGENT_FDS=3,4,5), the same ones
 * for every agent until the holder is released. Node cannot receive descriptors over a socket; this program does it, then becomes Node.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel.h"
#include "file.h"
#include "holder.h"
#include "launcher.h"
#include "mounts.h"
#include "report.h"
#include "run_dir.h"
#include "warden.h"

#define FIRST_FD 3
#define HOLDER_MS 5000
#define FOREIGN_HOLDER_MS 5000
#define USAGE_AGENT "purser-runtime purser-agent [--run-dir DIR] [--holder start|wait] [--parent-death TERM|KILL] -- COMMAND…"
#define USAGE_HOLDER "purser-runtime purser-holder [--run-dir DIR]"
#define USAGE_WARDEN "purser-runtime purser-warden [--run-dir DIR]"
#define USAGE_RELEASE "purser-runtime purser-holder-release [--run-dir DIR]"

struct options {
	const char *run_dir;
	int death_signal;
	bool waits_for_holder; /* another container has it, and starts it */
	char **command; /* NULL when there was no "--" */
};

static void usage(const char *error, const char *line)
{
	complain(error, line);
	exit(2);
}

static int signal_named(const char *name, const char *line)
{
	if (strcmp(name, "TERM") != 0 && strcmp(name, "KILL") != 0)
		usage("--parent-death takes TERM or KILL", line);
	return name[0] == 'T' ? SIGTERM : SIGKILL;
}

static bool is_wait(const char *value, const char *line)
{
	if (strcmp(value, "start") != 0 && strcmp(value, "wait") != 0)
		usage("--holder takes start or wait", line);
	return value[0] == 'w';
}

static struct options parse(int argc, char **argv, const char *line)
{
	struct options options = { .run_dir = PURSER_RUN_DIR };

	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			options.command = argv + i + 1;
			return options;
		}
		if (i + 1 == argc)
			usage(format("unknown option, or one without its value: %s", argv[i]), line);
		if (strcmp(argv[i], "--run-dir") == 0)
			options.run_dir = argv[++i];
		else if (strcmp(argv[i], "--holder") == 0)
			options.waits_for_holder = is_wait(argv[++i], line);
		else if (strcmp(argv[i], "--parent-death") == 0)
			options.death_signal = signal_named(argv[++i], line);
		else
			usage(format("unknown option: %s", argv[i]), line);
	}
	return options;
}

/* Returns a connection, or -1 when no holder runs. */
static int connect_to_holder(const struct run_dir *dir)
{
	int fd = channel_connect(dir->socket, channel_now() + HOLDER_MS);

	if (fd < 0 && errno != ENOENT && errno != ECONNREFUSED)
		die(format("the holder behind %s cannot be asked: %s", dir->socket, strerror(errno)), "see who listens there: ss -xlp");
	return fd;
}

static void ask_for_fds(int holder, int fds[HOLDER_FDS])
{
	struct pollfd answer = { .fd = holder, .events = POLLIN };

	if (channel_send(holder, "fds\n", 4, channel_now() + HOLDER_MS) < 0 || poll(&answer, 1, HOLDER_MS) != 1
	    || holder_receive_fds(holder, fds) < 0)
		die("the holder did not hand out its descriptors", "end it and start again: purser-runtime purser-holder-release");
}

/* A holder that is just being started has the lock. Returns with the lock and a connection. */
static int wait_for_holder(const struct run_dir *dir, int *lock)
{
	long deadline = channel_now() + FOREIGN_HOLDER_MS;

	for (;;) {
		int holder = connect_to_holder(dir);
		if (holder >= 0)
			return holder;
		close(*lock);
		if (channel_now() >= deadline)
			die(format("no holder listens on %s", dir->socket), "start its container first: docker start purser-holder");
		poll(NULL, 0, 100);
		*lock = run_dir_lock(dir);
	}
}

static void obtain_fds(const struct run_dir *dir, bool waits, int fds[HOLDER_FDS], int argc, char **argv)
{
	int lock = run_dir_lock(dir), holder = waits ? wait_for_holder(dir, &lock) : connect_to_holder(dir);

	if (holder < 0) {
		holder_start(dir, argc, argv);
		holder = connect_to_holder(dir);
		if (holder < 0)
			die("the holder did not start", "see the kernel log for a killed process: dmesg");
	} else if (!mounts_has(dir->fs) || !mounts_has(dir->ro)) {
		/* Containers may still use the old connection through their own mounts: only the operator can decide to end it. */
		die(format("a holder runs, but its mounts below %s are gone", dir->path), "end it and start again: purser-runtime purser-holder-release");
	}
	ask_for_fds(holder, fds);
	close(holder);
	close(lock);
}

static int placed(int fd)
{
	if (fd < 0)
		die(format("a descriptor cannot be placed: %s", strerror(errno)), "raise the limit of open files: ulimit -n");
	return fd;
}

/* dup2() clears close-on-exec. The received numbers may lie among 3 to 5 themselves, so they first move out of the way. */
static void place_fds(int fds[HOLDER_FDS])
{
	for (int i = 0; i < HOLDER_FDS; i++)
		fds[i] = placed(fcntl(fds[i], F_DUPFD_CLOEXEC, FIRST_FD + HOLDER_FDS));
	for (int i = 0; i < HOLDER_FDS; i++)
		(void)placed(dup2(fds[i], FIRST_FD + i));
}

/* The agent's memory holds values. core(5): 1 byte is too little for a file, and tells the kernel not to feed a crash handler's pipe either. */
static void forbid_core_dumps(void)
{
	const struct rlimit one = { 1, 1 };
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &one) < 0 && setrlimit(RLIMIT_CORE, &none) < 0)
		die(format("core dumps cannot be forbidden: %s", strerror(errno)), "run the agent as root");
}

static struct run_dir make_run_dir(const char *path)
{
	if (mkdir(path, 0711) < 0 && errno != EEXIST)
		die(format("the run directory %s cannot be created: %s", path, strerror(errno)), "run the agent as root");
	return run_dir_open(path);
}

int launcher_main(int argc, char **argv)
{
	struct options options = parse(argc, argv, USAGE_AGENT);
	pid_t parent = getppid();
	struct run_dir dir;
	int fds[HOLDER_FDS];

	if (!options.command || !options.command[0])
		usage("no command to start was given", USAGE_AGENT);
	dir = make_run_dir(options.run_dir);
	obtain_fds(&dir, options.waits_for_holder, fds, argc, argv);
	place_fds(fds);
	if (options.death_signal) {
		/* A parent that died before the call would never be noticed. */
		if (prctl(PR_SET_PDEATHSIG, options.death_signal) < 0 || getppid() != parent)
			die("the parent process is gone", "start the agent again");
	}
	forbid_core_dumps();
	if (setenv("PURSER_AGENT_FDS", "3,4,5", 1) < 0)
		die("out of memory", "free some memory, then try again");
	execvp(options.command[0], options.command);
	die(format("%s cannot be started: %s", options.command[0], strerror(errno)), "check the path of the command after --");
}

int holder_main(int argc, char **argv)
{
	struct options options = parse(argc, argv, USAGE_HOLDER);
	struct run_dir dir;

	if (options.command)
		usage("purser-holder takes no command", USAGE_HOLDER);
	dir = make_run_dir(options.run_dir);
	(void)run_dir_lock(&dir);
	if (connect_to_holder(&dir) >= 0)
		die(format("another holder listens on %s already", dir.socket), "stop the agent that runs on this host, then: purser agent release");
	holder_become(&dir, argc, argv);
}

int warden_main(int argc, char **argv)
{
	struct options options = parse(argc, argv, USAGE_WARDEN);
	struct run_dir dir;
	int lock;

	if (options.command)
		usage("purser-warden takes no command", USAGE_WARDEN);
	dir = run_dir_open(options.run_dir);
	lock = run_dir_lock(&dir);
	if (channel_connect(dir.warden, channel_now() + HOLDER_MS) < 0)
		warden_start(&dir, lock);
	return 0;
}

int release_main(int argc, char **argv)
{
	struct options options = parse(argc, argv, USAGE_RELEASE);
	struct run_dir dir;
	char answer[16];
	int holder;

	if (options.command)
		usage("purser-holder-release takes no command", USAGE_RELEASE);
	if (access(options.run_dir, F_OK) < 0 && errno == ENOENT)
		return 0;
	dir = run_dir_open(options.run_dir);
	(void)run_dir_lock(&dir);
	warden_release(&dir);
	holder = connect_to_holder(&dir);
	if (holder < 0) {
		/* No holder, but perhaps what a killed one left. */
		if (mounts_clear(dir.ro) < 0 || mounts_clear(dir.fs) < 0)
			die(format("the mounts below %s cannot be removed: %s", dir.path, strerror(errno)), "run it as root");
		(void)unlink(dir.socket);
		return 0;
	}
	if (channel_send(holder, "release\n", 8, channel_now() + HOLDER_MS) < 0
	    || channel_read_line(holder, answer, sizeof(answer), channel_now() + HOLDER_MS) < 0 || strcmp(answer, "ok") != 0)
		die("the holder did not release its mounts", "look for it and end it: pgrep purser-holder");
	return 0;
}
