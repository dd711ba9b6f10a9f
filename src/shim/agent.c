/*
 * The conversation with the agent (src/wire/PROTOCOL.md): one JSON line up, one plain line down: `ok`, `error <text>`, `environment <n>` or
 * `strict <n> <m>`, and only behind the last two the bytes of values, which go straight into secret memory.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "channel.h"
#include "file.h"
#include "report.h"
#include "secret.h"

#define AGENT_SOCKET PURSER_RUN_DIR "/agent.sock"
#define HOLDER_SOCKET PURSER_RUN_DIR "/holder.sock"
#define PATIENT_MS 30000
#define IMPATIENT_MS 5000
#define TELL_MS 100
/* A restarted agent listens again after one start of Node. */
#define RESTART_MS 3000
#define ANSWER_MAX 4096

char *json_quote(const char *text)
{
	char *quoted = NULL;
	size_t size;
	FILE *out = open_memstream(&quoted, &size);

	if (!out)
		die("out of memory", "free some memory, then try again");
	putc('"', out);
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20)
			fprintf(out, "\\u%04x", (unsigned char)*text);
		else if (*text == '"' || *text == '\\')
			fprintf(out, "\\%c", *text);
		else
			putc(*text, out);
	}
	putc('"', out);
	if (fclose(out) != 0)
		die("out of memory", "free some memory, then try again");
	return quoted;
}

static char *member(char *line, const char *name, const char *value)
{
	char *quoted, *longer;

	if (!value)
		return line;
	quoted = json_quote(value);
	longer = format("%s,\"%s\":%s", line, name, quoted);
	free(quoted);
	free(line);
	return longer;
}

static char *question_line(const struct question *q)
{
	char *line = format("{\"v\":1"), *whole;

	line = member(line, "verb", q->verb);
	line = member(line, "id", q->id);
	line = member(line, "bundle", q->bundle);
	line = member(line, "process", q->process);
	whole = format("%s}\n", line);
	free(line);
	return whole;
}

static enum answer failed(char *reason, size_t size, const char *text)
{
	snprintf(reason, size, "%s", text);
	return ANSWER_FAILED;
}

static enum answer failed_by(char *reason, size_t size, int error)
{
	switch (error) {
	case EPERM:
		return failed(reason, size, "the process that listens on " AGENT_SOCKET " does not run as root");
	case ETIMEDOUT:
		return failed(reason, size, "the purser agent did not answer in time (see its log)");
	case ECONNRESET:
	case EPIPE:
		return failed(reason, size, "the purser agent ended before it answered (see its log)");
	case EMSGSIZE:
		return failed(reason, size, "the purser agent sent an answer that is too long");
	default:
		snprintf(reason, size, "the purser agent cannot be asked: %s", strerror(error));
		return ANSWER_FAILED;
	}
}

static enum answer not_understood(char *reason, size_t size)
{
	return failed(reason, size, "the purser agent sent an answer that is not understood (do purser and purser-runtime have the same version?)");
}

static enum answer understand(const char *line, char *reason, size_t size)
{
	if (strcmp(line, "ok") == 0)
		return ANSWER_OK;
	if (strncmp(line, "error ", 6) == 0 && line[6]) {
		snprintf(reason, size, "%s", line + 6);
		/* The reason ends on a terminal. */
		for (char *c = reason; *c; c++)
			if ((unsigned char)*c < 0x20 || *c == 0x7f)
				*c = ' ';
		return ANSWER_REFUSED;
	}
	return not_understood(reason, size);
}

/* The sizes of `environment <n>` or `strict <n> <m>`: plain decimal, in bounds. */
static bool payload_sizes(const char *line, size_t *values, size_t *references)
{
	int end = 0;

	*references = 0;
	if (strspn(line, "abcdefghijklmnopqrstuvwxyz 0123456789") != strlen(line))
		return false;
	if (sscanf(line, "environment %6zu%n", values, &end) != 1 && (sscanf(line, "strict %6zu %7zu%n", values, references, &end) != 2 || *references == 0))
		return false;
	return line[end] == '\0' && *values <= ENVIRONMENT_MAX && *references <= REFERENCES_MAX;
}

static enum answer receive_environment(int fd, size_t values, size_t references, struct environment *environment, long deadline, char *reason, size_t size)
{
	enum answer result = ANSWER_ENVIRONMENT;

	secret_protect_process();
	environment_init(environment, values, references);
	if (channel_read(fd, environment->payload, values + references, deadline) < 0)
		result = failed_by(reason, size, errno);
	else if (!environment_parse(environment))
		result = not_understood(reason, size);
	if (result != ANSWER_ENVIRONMENT)
		environment_free(environment);
	return result;
}

static bool is_absent(int error)
{
	return error == ENOENT || error == ECONNREFUSED || error == ENOTDIR;
}

/* A live holder means that this host has an agent, which is being restarted: that is worth a moment of waiting. */
static int connect_to_agent(bool patient, long deadline)
{
	long give_up = channel_now() + RESTART_MS;
	int fd;

	while ((fd = channel_connect(AGENT_SOCKET, deadline)) < 0) {
		int error = errno;
		if (!patient || !is_absent(error) || access(HOLDER_SOCKET, F_OK) < 0 || channel_now() >= give_up) {
			errno = error;
			return -1;
		}
		poll(NULL, 0, 20);
	}
	return fd;
}

enum answer agent_ask(const struct question *question, bool patient, struct environment *environment, char *reason, size_t size)
{
	long deadline = channel_now() + (patient ? PATIENT_MS : IMPATIENT_MS);
	char answer[ANSWER_MAX], *line;
	enum answer result;
	size_t values, references;
	int fd = connect_to_agent(patient, deadline);

	if (fd < 0)
		return is_absent(errno) ? ANSWER_ABSENT : failed_by(reason, size, errno);
	line = question_line(question);
	if (channel_send(fd, line, strlen(line), deadline) < 0 || channel_read_line(fd, answer, sizeof(answer), deadline) < 0)
		result = failed_by(reason, size, errno);
	else if (environment && payload_sizes(answer, &values, &references))
		result = receive_environment(fd, values, references, environment, deadline, reason, size);
	else
		result = understand(answer, reason, size);
	free(line);
	close(fd);
	return result;
}

void agent_tell(const struct question *question)
{
	long deadline = channel_now() + TELL_MS;
	char *line;
	int fd = channel_connect(AGENT_SOCKET, deadline);

	if (fd < 0)
		return;
	line = question_line(question);
	/* Best effort: the agent also learns of the end from Docker's events. */
	(void)channel_send(fd, line, strlen(line), deadline);
	free(line);
	close(fd);
}
