/*
 * What containerd calls in runc's place. `create` and `exec` of something that names a secret are allowed only by the agent's word;
 * everything else becomes runc at once, with the arguments as they came, and never waits for anybody.
 *
 * A refusal is said twice: as the last {"level":"error"} line of the --log file, which dockerd shows to the user and keeps in
 * .State.Error, and on stderr.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "args.h"
#include "file.h"
#include "oci.h"
#include "runc.h"
#include "sight.h"

#define REASON_MAX 4096
#define SHORT_ID 12

static void write_all(int fd, const char *text)
{
	size_t len = strlen(text);

	while (len > 0) {
		ssize_t n = write(fd, text, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return; /* The log is full or gone: stderr still has the reason. */
		text += n;
		len -= (size_t)n;
	}
}

/* One line as runc (logrus) writes it, in one write, to the file that containerd reads. */
static void log_error(const struct invocation *call, const char *reason)
{
	char when[sizeof("2006-01-02T15:04:05Z")], *quoted, *line;
	time_t now = time(NULL);
	struct tm utc;
	int fd;

	if (!call->log || !*call->log)
		return;
	fd = open(call->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
	if (fd < 0)
		return;
	if (!gmtime_r(&now, &utc) || strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
		when[0] = '\0';
	quoted = json_quote(reason);
	line = call->log_json
		? format("{\"level\":\"error\",\"msg\":%s,\"time\":\"%s\"}\n", quoted, when)
		: format("time=\"%s\" level=error msg=%s\n", when, quoted);
	write_all(fd, line);
	free(line);
	free(quoted);
	close(fd);
}

static int refuse(const struct invocation *call, const char *reason)
{
	log_error(call, reason);
	fprintf(stderr, "%s\n", reason);
	return 1;
}

static int refuse_for(const struct invocation *call, const char *reason)
{
	char text[REASON_MAX + 64];

	snprintf(text, sizeof(text), "purser: container %.*s: %s", SHORT_ID, call->id, reason);
	return refuse(call, text);
}

static int become_runc(const struct invocation *call, char **argv)
{
	runc_exec(argv);
	return refuse(call, "purser: runc was not found in PATH or the usual directories (install runc)");
}

/* The agent runs elsewhere in the filesystem, so it gets absolute paths. NULL when the path does not resolve. */
static char *absolute(const char *path)
{
	return path[0] == '/' ? strdup(path) : realpath(path, NULL);
}

static int ask_then_run(const struct invocation *call, const struct question *question, unsigned seen, char **argv)
{
	char reason[REASON_MAX];
	bool needed = seen & SIGHT_REFERENCE;

	switch (agent_ask(question, needed, reason, sizeof(reason))) {
	case ANSWER_OK:
		return become_runc(call, argv);
	case ANSWER_REFUSED:
		return refuse(call, reason);
	case ANSWER_ABSENT:
		if (needed)
			return refuse_for(call, "the purser agent is not running on this host (start it with: purser agent)");
		break;
	case ANSWER_FAILED:
		if (needed)
			return refuse_for(call, reason);
		break;
	}
	return become_runc(call, argv);
}

static int create(const struct invocation *call, char **argv)
{
	const char *given = call->bundle && *call->bundle ? call->bundle : ".";
	struct question question = { .verb = "create", .id = call->id };
	unsigned seen;
	char *bundle;
	int status;

	if (!call->id || !(bundle = absolute(given)))
		return become_runc(call, argv); /* runc says what is missing. */
	seen = sight_bundle(bundle, call->id);
	question.bundle = bundle;
	status = seen ? ask_then_run(call, &question, seen, argv) : become_runc(call, argv);
	free(bundle);
	return status;
}

static int exec_into(const struct invocation *call, char **argv)
{
	struct question question = { .verb = "exec", .id = call->id };
	unsigned seen;
	char *process;
	int status;

	if (!call->id || !call->process || !(process = absolute(call->process)))
		return become_runc(call, argv);
	seen = sight_process(process);
	question.process = process;
	status = seen ? ask_then_run(call, &question, seen, argv) : become_runc(call, argv);
	free(process);
	return status;
}

int oci_main(int argc, char **argv)
{
	struct invocation call;

	args_parse(argc, argv, &call);
	switch (call.verb) {
	case VERB_CREATE:
		return create(&call, argv);
	case VERB_EXEC:
		return exec_into(&call, argv);
	case VERB_DELETE:
		if (call.id)
			agent_tell(&(struct question){ .verb = "deleted", .id = call.id });
		break;
	case VERB_OTHER:
		break;
	}
	return become_runc(&call, argv);
}
