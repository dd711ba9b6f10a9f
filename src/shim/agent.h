#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "environment.h"

enum answer {
	ANSWER_OK,
	ANSWER_ENVIRONMENT, /* values are there, for environment_free() */
	ANSWER_REFUSED, /* `reason` holds the agent's text */
	ANSWER_ABSENT,  /* nobody listens */
	ANSWER_FAILED,  /* no usable answer; `reason` says why */
};

/* What the shim tells the agent; NULL members are left out. */
struct question {
	const char *verb, *id, *bundle, *process;
};

/* Asks and waits for the answer. `patient`: wait longer, and for an agent that is just being restarted. Without `environment` values are no answer. */
enum answer agent_ask(const struct question *question, bool patient, struct environment *environment, char *reason, size_t size);

/* Tells without waiting for an answer, within 100 ms, and never fails. */
void agent_tell(const struct question *question);

/* `text` as a JSON string, quotes included, in fresh memory. */
char *json_quote(const char *text);
