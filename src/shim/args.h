#pragma once

#include <stdbool.h>

enum verb { VERB_OTHER, VERB_CREATE, VERB_START, VERB_EXEC, VERB_DELETE };

/* What matters of a runc command line. Pointers into argv; NULL when not given. */
struct invocation {
	enum verb verb;
	const char *id, *bundle, *process;
	const char *root, *log;
	bool log_json;
};

void args_parse(int argc, char **argv, struct invocation *call);
