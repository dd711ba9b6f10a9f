/*
 * Decides from local files whether a container names a secret: cheap, bounded, and without asking anybody.
 *
 * - config.json unreadable, larger than 16 MiB or malformed: what was seen up to the fault counts, else runc gets it as it is and
 *   complains itself.
 * - Docker's record (config.v2.json) absent: not a container of this Docker, so it has no labels. Present but unreadable: the labels
 *   cannot be known here, which is SIGHT_DOUBT: an agent that runs is asked (it can list labels through Docker's API), but a
 *   container does not depend on the agent only because of it. Nothing leaks in that case: a file it may have wanted is missing.
 */

#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "json.h"
#include "sight.h"

#define MAX_FILE (16u << 20)
#define ID_LENGTH 64
#define DEFAULT_ROOT "/var/lib/docker"

static bool names_reference(struct span entry)
{
	const char *equals = memchr(entry.at, '=', entry.len);
	struct span value;

	if (!equals)
		return false;
	value.at = equals + 1;
	value.len = entry.len - (size_t)(value.at - entry.at);
	return span_starts(value, "purser://") || span_starts(value, "se://")
		|| span_contains(value, "${purser://") || span_contains(value, "${se://");
}

/* With the value of "env" next. */
static unsigned walk_env(struct json *j)
{
	unsigned seen = 0;
	struct span entry;

	if (json_array(j))
		while (json_item(j))
			if (json_string(j, &entry) && names_reference(entry))
				seen = SIGHT_REFERENCE;
	return seen;
}

/* With an OCI process object next. */
static unsigned walk_process(struct json *j)
{
	unsigned seen = 0;
	struct span key;

	if (json_object(j))
		while (json_key(j, &key)) {
			if (span_is(key, "env"))
				seen |= walk_env(j);
			else
				json_skip(j);
		}
	return seen;
}

static bool is_hex(const char *at, size_t len)
{
	return len == ID_LENGTH && strspn(at, "0123456789abcdef") >= len;
}

/*
 * Docker mounts its own /etc/hostname, hosts and resolv.conf from `<root>/containers/<64 hex>/`. With `--network container:X` the id
 * in there is X's, so only the root is taken from it. The last match counts: a root may itself lie below a "containers" directory.
 */
static void note_root(struct docker_roots *roots, struct span destination, struct span source)
{
	static const char marker[] = "/containers/";
	char *path, *found = NULL;

	if (!span_is(destination, "/etc/hostname") && !span_is(destination, "/etc/hosts") && !span_is(destination, "/etc/resolv.conf"))
		return;
	if (roots->count == SIGHT_ROOTS || source.len == 0 || source.at[0] != '/' || memchr(source.at, '\0', source.len))
		return;
	path = strndup(source.at, source.len);
	if (!path)
		return;
	for (char *p = path; (p = strstr(p, marker)); p++) {
		char *id = p + sizeof(marker) - 1;
		char *slash = strchr(id, '/');
		if (slash && is_hex(id, (size_t)(slash - id)))
			found = p;
	}
	if (found) {
		*found = '\0';
		roots->path[roots->count++] = path;
	} else {
		free(path);
	}
}

/* With the value of "mounts" next. */
static void walk_mounts(struct json *j, struct docker_roots *roots)
{
	struct span key;

	if (!json_array(j))
		return;
	while (json_item(j)) {
		struct span destination = { "", 0 }, source = { "", 0 }, value;
		if (!json_object(j))
			continue;
		while (json_key(j, &key)) {
			struct span *wanted = span_is(key, "destination") ? &destination : span_is(key, "source") ? &source : NULL;
			if (!wanted)
				json_skip(j);
			else if (json_string(j, &value))
				*wanted = value;
		}
		note_root(roots, destination, source);
	}
}

unsigned sight_in_config(char *text, size_t len, struct docker_roots *roots, int *whole)
{
	struct json j;
	struct span key;
	unsigned seen = 0;

	json_init(&j, text, len);
	if (json_object(&j))
		while (json_key(&j, &key)) {
			if (span_is(key, "process"))
				seen |= walk_process(&j);
			else if (span_is(key, "mounts"))
				walk_mounts(&j, roots);
			else
				json_skip(&j);
		}
	*whole = json_done(&j);
	return seen;
}

unsigned sight_in_process(char *text, size_t len, int *whole)
{
	struct json j;
	unsigned seen;

	json_init(&j, text, len);
	seen = walk_process(&j);
	*whole = json_done(&j);
	return seen;
}

/* With the value of "Config" next: does it have a label of ours? */
static unsigned walk_labels(struct json *j)
{
	unsigned seen = 0;
	struct span key, label;

	if (json_object(j))
		while (json_key(j, &key)) {
			if (!span_is(key, "Labels")) {
				json_skip(j);
			} else if (json_object(j)) {
				for (; json_key(j, &label); json_skip(j))
					if (span_starts(label, "purser."))
						seen = SIGHT_REFERENCE;
			}
		}
	return seen;
}

unsigned sight_in_record(char *text, size_t len, int *whole)
{
	struct json j;
	struct span key;
	unsigned seen = 0;

	json_init(&j, text, len);
	if (json_object(&j))
		while (json_key(&j, &key)) {
			if (span_is(key, "Config")) {
				seen |= walk_labels(&j);
			} else if (span_is(key, "SecretReferences") && json_array(&j)) {
				for (; json_item(&j); json_skip(&j))
					seen |= SIGHT_SECRET;
			} else if (!span_is(key, "SecretReferences")) {
				json_skip(&j);
			}
		}
	*whole = json_done(&j);
	return seen;
}

/* Returns false when there is no such record below this root. */
static bool look_at_record(const char *root, const char *id, unsigned *seen)
{
	char *text, *path = format("%s/containers/%s/config.v2.json", root, id);
	size_t len;
	int whole;
	enum file_state state = file_read(path, MAX_FILE, &text, &len);

	free(path);
	if (state == FILE_ABSENT)
		return false;
	if (state == FILE_UNREADABLE) {
		*seen |= SIGHT_DOUBT;
		return true;
	}
	*seen |= sight_in_record(text, len, &whole);
	if (!whole)
		*seen |= SIGHT_DOUBT;
	free(text);
	return true;
}

/* Docker's ids are hex; other callers of runc may use other names, which must not lead out of the directory. */
static bool is_plain_name(const char *id)
{
	return *id && !strchr(id, '/') && strcmp(id, ".") != 0 && strcmp(id, "..") != 0;
}

unsigned sight_bundle(const char *bundle, const char *id)
{
	char *text, *path = format("%s/config.json", bundle);
	struct docker_roots roots = { .count = 0 };
	unsigned seen = 0;
	size_t len;
	int whole, i;

	if (file_read(path, MAX_FILE, &text, &len) == FILE_READ) {
		seen = sight_in_config(text, len, &roots, &whole);
		free(text);
	}
	free(path);
	/* A user may mount over one of the three files, so every root is tried until one knows this container. */
	if (is_plain_name(id)) {
		for (i = 0; i < roots.count; i++)
			if (look_at_record(roots.path[i], id, &seen))
				break;
		if (i == roots.count)
			look_at_record(DEFAULT_ROOT, id, &seen);
	}
	for (i = 0; i < roots.count; i++)
		free(roots.path[i]);
	return seen;
}

unsigned sight_process(const char *path)
{
	char *text;
	size_t len;
	unsigned seen = 0;
	int whole;

	if (file_read(path, MAX_FILE, &text, &len) == FILE_READ) {
		seen = sight_in_process(text, len, &whole);
		free(text);
	}
	return seen;
}
