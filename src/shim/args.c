/*
 * Reads runc's command line as runc does (Go's flag package under urfave/cli), so that a value is never taken for a verb: a bundle
 * directory may be called "create". One or two dashes are the same, "-b B", "-b=B", "--bundle=B" too, the last one given
 * wins, "--" ends the options. The option tables are those of runc 1.0 to 1.3.
 *
 * Unknown options of a verb count as switches: containerd puts the id last, so a value that is swallowed as a word does no harm.
 */

#include <stddef.h>
#include <string.h>

#include "args.h"

static const char *const GLOBAL_SWITCHES[] = { "debug", "systemd-cgroup", NULL };
static const char *const ANSWER_AT_ONCE[] = { "help", "h", "version", "v", NULL };
static const char *const GLOBAL_VALUES[] = { "log", "log-format", "root", "criu", "rootless", NULL };
static const char *const CREATE_VALUES[] = { "bundle", "b", "console-socket", "pidfd-socket", "pid-file", "preserve-fds", NULL };
static const char *const EXEC_VALUES[] = { "console-socket", "pidfd-socket", "cwd", "env", "e", "user", "u", "additional-gids", "g",
	"process", "p", "pid-file", "process-label", "apparmor", "cap", "c", "preserve-fds", "cgroup", NULL };
static const char *const NO_VALUES[] = { NULL };

struct flag {
	const char *name;
	size_t len;
	const char *value; /* after '=', else NULL */
};

/* Go's rule: "-" and everything without a dash are words, not flags. */
static bool split_flag(const char *arg, struct flag *flag)
{
	const char *equals;

	if (arg[0] != '-' || arg[1] == '\0')
		return false;
	flag->name = arg + (arg[1] == '-' ? 2 : 1);
	equals = strchr(flag->name, '=');
	flag->len = equals ? (size_t)(equals - flag->name) : strlen(flag->name);
	flag->value = equals ? equals + 1 : NULL;
	return true;
}

static bool flag_is(const struct flag *flag, const char *name)
{
	return strlen(name) == flag->len && strncmp(flag->name, name, flag->len) == 0;
}

static bool flag_in(const struct flag *flag, const char *const *names)
{
	for (; *names; names++)
		if (flag_is(flag, *names))
			return true;
	return false;
}

static enum verb verb_of(const char *word)
{
	return strcmp(word, "create") == 0 ? VERB_CREATE
		: strcmp(word, "start") == 0 ? VERB_START
		: strcmp(word, "exec") == 0 ? VERB_EXEC
		: strcmp(word, "delete") == 0 ? VERB_DELETE : VERB_OTHER;
}

/* Does the option before argv[next] take it as its value? An unknown one does, unless a verb of ours stands there. */
static bool takes_next(const struct flag *flag, const char *next)
{
	return !flag_in(flag, GLOBAL_SWITCHES) && (flag_in(flag, GLOBAL_VALUES) || verb_of(next) == VERB_OTHER);
}

/* Returns the index of the verb, or argc when there is none to act on. */
static int parse_globals(int argc, char **argv, struct invocation *call)
{
	struct flag flag;
	int i;

	for (i = 1; i < argc && split_flag(argv[i], &flag); i++) {
		if (flag.len == 0 && !flag.value)
			return i + 1;
		if (flag_in(&flag, ANSWER_AT_ONCE))
			return argc;
		if (!flag.value && i + 1 < argc && takes_next(&flag, argv[i + 1]))
			flag.value = argv[++i];
		if (flag_is(&flag, "root"))
			call->root = flag.value;
		else if (flag_is(&flag, "log"))
			call->log = flag.value;
		else if (flag_is(&flag, "log-format"))
			call->log_json = flag.value && strcmp(flag.value, "json") == 0;
	}
	return i;
}

static void note_option(const struct flag *flag, struct invocation *call)
{
	if (call->verb == VERB_CREATE && (flag_is(flag, "bundle") || flag_is(flag, "b")))
		call->bundle = flag->value;
	else if (call->verb == VERB_EXEC && (flag_is(flag, "process") || flag_is(flag, "p")))
		call->process = flag->value;
}

/* `create`, `start` and `delete` allow options after the id (urfave reorders them); after `exec ID` the container's command begins. */
static void parse_verb(int argc, char **argv, int i, struct invocation *call)
{
	const char *const *values = call->verb == VERB_CREATE ? CREATE_VALUES : call->verb == VERB_EXEC ? EXEC_VALUES : NO_VALUES;
	bool options = true;
	struct flag flag;

	for (; i < argc; i++) {
		if (!options || !split_flag(argv[i], &flag)) {
			call->id = argv[i];
			if (call->verb == VERB_EXEC)
				return;
		} else if (flag.len == 0 && !flag.value) {
			options = false;
		} else {
			if (!flag.value && flag_in(&flag, values) && i + 1 < argc)
				flag.value = argv[++i];
			note_option(&flag, call);
		}
	}
}

void args_parse(int argc, char **argv, struct invocation *call)
{
	int i;

	*call = (struct invocation){ .verb = VERB_OTHER };
	i = parse_globals(argc, argv, call);
	if (i >= argc)
		return;
	call->verb = verb_of(argv[i]);
	if (call->verb != VERB_OTHER)
		parse_verb(argc, argv, i + 1, call);
}
