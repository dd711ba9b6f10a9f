/*
 * How the process of a `runc exec` is recognized among those that runc starts on the way: its environment holds, for each variable that the
 * agent answered for, an entry exactly as it stands in the process file. runc and its init stages never have these.
 */

#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "expected.h"
#include "file.h"

#define MAX_FILE (16u << 20)
#define ENTRIES_MAX 4096

/* With the value of "env" next. */
static void take_entries(struct expected *x, struct json *j, const struct environment *e)
{
	struct span entry;

	if (json_array(j))
		while (json_item(j))
			if (json_string(j, &entry) && environment_find(e, entry.at, entry.len) >= 0 && x->count < ENTRIES_MAX)
				x->entries[x->count++] = entry;
}

static bool covers(const struct expected *x, const struct environment *e)
{
	bool *seen = allocate(e->count, sizeof(*seen));
	size_t missing = e->count;

	for (size_t i = 0; i < x->count; i++) {
		long found = environment_find(e, x->entries[i].at, x->entries[i].len);
		missing -= !seen[found];
		seen[found] = true;
	}
	free(seen);
	return missing == 0;
}

bool expected_read(struct expected *x, const char *path, const struct environment *e)
{
	struct json j;
	struct span key;
	size_t len;

	*x = (struct expected){ 0 };
	if (file_read(path, MAX_FILE, &x->text, &len) != FILE_READ)
		return false;
	x->entries = allocate(ENTRIES_MAX, sizeof(*x->entries));
	json_init(&j, x->text, len);
	if (json_object(&j))
		while (json_key(&j, &key)) {
			if (span_is(key, "env"))
				take_entries(x, &j, e);
			else
				json_skip(&j);
		}
	return json_done(&j) && covers(x, e);
}

bool expected_has(const struct expected *x, const char *entry, size_t len)
{
	for (size_t i = 0; i < x->count; i++)
		if (x->entries[i].len == len && memcmp(x->entries[i].at, entry, len) == 0)
			return true;
	return false;
}

void expected_free(struct expected *x)
{
	free(x->text);
	free(x->entries);
	*x = (struct expected){ 0 };
}
