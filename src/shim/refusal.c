/*
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
#include "file.h"
#include "refusal.h"

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

int refuse(const struct invocation *call, const char *reason)
{
	log_error(call, reason);
	fprintf(stderr, "%s\n", reason);
	return 1;
}

int refuse_for(const struct invocation *call, const char *reason)
{
	char text[REASON_MAX + 64];

	snprintf(text, sizeof(text), "purser: container %.*s: %s", SHORT_ID, call->id, reason);
	return refuse(call, text);
}
