/*
 * What containerd calls in runc's place. `create`, `start` and `exec` of something that names a secret are allowed only by the agent's word;
 * everything else becomes runc at once, with the arguments as they came, and never waits for anybody. Where the agent answers with values for
 * the environment, this process stays as runc's parent until they are delivered (deliver.c).
 */

#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "args.h"
#include "deliver.h"
#include "file.h"
#include "init.h"
#include "oci.h"
#include "refusal.h"
#include "runc.h"
#include "sight.h"

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

/* What to do without values: the exit status, unless this process becomes runc. */
static int obey(const struct invocation *call, enum answer answer, bool needed, const char *reason, char **argv)
{
	if (answer == ANSWER_REFUSED)
		return refuse(call, reason);
	if (answer == ANSWER_ABSENT && needed)
		return refuse_for(call, "the purser agent is not running on this host (start it with: purser agent)");
	if (answer == ANSWER_FAILED && needed)
		return refuse_for(call, reason);
	return become_runc(call, argv);
}

static int delivered(const struct invocation *call, int status, const char *reason)
{
	return status < 0 ? refuse_for(call, reason) : status;
}

static int create(const struct invocation *call, char **argv)
{
	const char *given = call->bundle && *call->bundle ? call->bundle : ".";
	struct question question = { .verb = "create", .id = call->id };
	enum answer answer = ANSWER_OK;
	char reason[REASON_MAX];
	unsigned seen;
	char *bundle;

	if (!call->id || !(bundle = absolute(given)))
		return become_runc(call, argv); /* runc says what is missing. */
	seen = sight_bundle(bundle, call->id);
	question.bundle = bundle;
	if (seen)
		answer = agent_ask(&question, seen & SIGHT_REFERENCE, NULL, reason, sizeof(reason));
	free(bundle);
	return obey(call, answer, seen & SIGHT_REFERENCE, reason, argv);
}

static int start_with(const struct invocation *call, const char *bundle, char **argv)
{
	struct question question = { .verb = "start", .id = call->id };
	struct environment environment;
	char reason[REASON_MAX];
	struct init init;
	enum answer answer;
	int status;

	answer = agent_ask(&question, true, &environment, reason, sizeof(reason));
	if (answer != ANSWER_ENVIRONMENT)
		return obey(call, answer, true, reason, argv);
	if (init_find(&init, call->root, call->id, bundle, reason, sizeof(reason)))
		status = deliver_at_start(call, argv, &init, &environment, reason, sizeof(reason));
	else
		status = -1;
	environment_free(&environment);
	return delivered(call, status, reason);
}

/* One open() decides: the agent leaves a mark for each container whose environment has values. */
static int start(const struct invocation *call, char **argv)
{
	char *bundle, reason[REASON_MAX];
	int marked, status;

	if (!call->id || (marked = init_bundle(call->id, &bundle, reason, sizeof(reason))) == 0)
		return become_runc(call, argv);
	if (marked < 0)
		return refuse_for(call, reason);
	status = start_with(call, bundle, argv);
	free(bundle);
	return status;
}

static int exec_with(const struct invocation *call, const char *process, struct environment *environment, char **argv)
{
	char reason[REASON_MAX] = "the agent has answered for variables that the process file does not have";
	struct expected expected;
	int status = -1;

	if (expected_read(&expected, process, environment))
		status = deliver_at_exec(call, argv, &expected, environment, reason, sizeof(reason));
	expected_free(&expected);
	environment_free(environment);
	return delivered(call, status, reason);
}

static int exec_into(const struct invocation *call, char **argv)
{
	struct question question = { .verb = "exec", .id = call->id };
	struct environment environment;
	enum answer answer = ANSWER_OK;
	char reason[REASON_MAX];
	unsigned seen;
	char *process;
	int status;

	if (!call->id || !call->process || !(process = absolute(call->process)))
		return become_runc(call, argv);
	seen = sight_process(process);
	question.process = process;
	if (seen)
		answer = agent_ask(&question, seen & SIGHT_REFERENCE, &environment, reason, sizeof(reason));
	if (answer == ANSWER_ENVIRONMENT)
		status = exec_with(call, process, &environment, argv);
	else
		status = obey(call, answer, seen & SIGHT_REFERENCE, reason, argv);
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
	case VERB_START:
		return start(&call, argv);
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
