/*
 * Which process is the waiting init of a container? containerd leaves its pid in the bundle; a wrong one would have values written into
 * a stranger, or a stranger killed, so it must agree with runc's state.json in pid and start time or, where that does not read, its
 * cgroup must carry the container's id.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "init.h"
#include "json.h"

#define MARKERS PURSER_RUN_DIR "/environment/"
#define DEFAULT_ROOT "/run/runc"
#define STATE_MAX (16u << 20)
#define PROC_MAX 65536

static int unusable(const char *path, char *reason, size_t size)
{
	snprintf(reason, size, "%s is not as the agent left it (see the agent's log, then create the container again)", path);
	return -1;
}

/* Regular, root's alone, one absolute path in one line. */
static int read_marker(int fd, char **bundle)
{
	char line[PATH_MAX + 1];
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != 0 || (st.st_mode & 07777) != 0600)
		return -1;
	n = read(fd, line, sizeof(line));
	if (n < 2 || n == (ssize_t)sizeof(line) || line[0] != '/' || memchr(line, '\n', (size_t)n) != line + n - 1 || memchr(line, '\0', (size_t)n))
		return -1;
	*bundle = strndup(line, (size_t)n - 1);
	return *bundle ? 1 : -1;
}

int init_bundle(const char *id, char **bundle, char *reason, size_t size)
{
	char *path;
	int fd, found;

	if (!*id || strchr(id, '/') || strcmp(id, ".") == 0 || strcmp(id, "..") == 0)
		return 0;
	path = format(MARKERS "%s", id);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		found = errno == ENOENT || errno == ENOTDIR ? 0 : unusable(path, reason, size);
	} else {
		found = read_marker(fd, bundle) < 0 ? unusable(path, reason, size) : 1;
		close(fd);
	}
	free(path);
	return found;
}

/* A file as a string, or NULL. */
static char *read_text(const char *path, size_t max, size_t *len)
{
	char *text, *whole;

	if (file_read(path, max, &text, len) != FILE_READ)
		return NULL;
	whole = realloc(text, *len + 1);
	if (!whole) {
		free(text);
		return NULL;
	}
	whole[*len] = '\0';
	return whole;
}

/* Files of /proc say that they have no bytes, so file_read() does not fit. */
static bool read_proc(pid_t pid, const char *name, char *text, size_t size)
{
	char *path = format("/proc/%d/%s", (int)pid, name);
	FILE *file = fopen(path, "re");
	size_t n;

	free(path);
	if (!file)
		return false;
	n = fread(text, 1, size - 1, file);
	fclose(file);
	text[n] = '\0';
	return n > 0;
}

static bool start_time(pid_t pid, unsigned long long *started)
{
	char stat_line[1024], *at;

	if (!read_proc(pid, "stat", stat_line, sizeof(stat_line)) || !(at = strrchr(stat_line, ')')))
		return false;
	/* The name, field 2, may hold anything; field 3 follows its last parenthesis. */
	for (int field = 2; field < 22; field++)
		if (!(at = strchr(at + 1, ' ')))
			return false;
	return sscanf(at, " %llu", started) == 1;
}

static pid_t read_pid(const char *bundle)
{
	char *path = format("%s/init.pid", bundle), *end;
	size_t len;
	char *text = read_text(path, 32, &len);
	long pid = 0;

	free(path);
	if (text) {
		errno = 0;
		pid = strtol(text, &end, 10);
		if (errno || end == text || (*end && strcmp(end, "\n") != 0) || pid < 2 || pid > INT_MAX)
			pid = 0;
	}
	free(text);
	return (pid_t)pid;
}

enum agreement { AGREES, DIFFERS, UNKNOWN };

/* What runc itself says of this container's first process. */
static enum agreement compare_state(const struct init *init, const char *state)
{
	unsigned long long pid = 0, started = 0;
	struct span key;
	struct json j;
	size_t len;
	char *text;

	if (file_read(state, STATE_MAX, &text, &len) != FILE_READ)
		return UNKNOWN;
	json_init(&j, text, len);
	if (json_object(&j))
		while (json_key(&j, &key)) {
			if (span_is(key, "init_process_pid"))
				json_unsigned(&j, &pid);
			else if (span_is(key, "init_process_start"))
				json_unsigned(&j, &started);
			else
				json_skip(&j);
		}
	free(text);
	if (!json_done(&j))
		return UNKNOWN;
	return pid == (unsigned long long)init->pid && started == init->started ? AGREES : DIFFERS;
}

static bool is_of_container(const struct init *init, const char *id)
{
	char *cgroups = allocate(1, PROC_MAX);
	bool found = strlen(id) >= 12 && read_proc(init->pid, "cgroup", cgroups, PROC_MAX) && strstr(cgroups, id);

	free(cgroups);
	return found;
}

bool init_is_same(const struct init *init)
{
	unsigned long long started;

	return start_time(init->pid, &started) && started == init->started;
}

bool init_find(struct init *init, const char *root, const char *id, const char *bundle, char *reason, size_t size)
{
	char *state = format("%s/%s/state.json", root ? root : DEFAULT_ROOT, id), *fifo = format("%s/%s/exec.fifo", root ? root : DEFAULT_ROOT, id);
	enum agreement agreement = DIFFERS;

	init->pid = read_pid(bundle);
	init->waiting = access(fifo, F_OK) == 0;
	if (init->pid && start_time(init->pid, &init->started))
		agreement = compare_state(init, state);
	if (agreement == UNKNOWN && is_of_container(init, id))
		agreement = AGREES;
	free(state);
	free(fifo);
	if (agreement == AGREES)
		return true;
	snprintf(reason, size, "its first process was not found (%s/init.pid names none of this container)", bundle);
	return false;
}
