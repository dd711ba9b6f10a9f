/*
 * The payload of the agent's `environment` answer (src/wire/PROTOCOL.md section 2). Accepted as a whole or not at all: every length inside
 * the payload, no byte left over, names unique and usable as names, no NUL in a value.
 */

#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "environment.h"
#include "file.h"
#include "secret.h"

#define REMOVED 0xffffffffu
#define HEAD 8
#define VARIABLES_MAX 1024

static size_t room(const struct environment *e)
{
	return e->size + e->references ? e->size + e->references : 1;
}

void environment_init(struct environment *e, size_t size, size_t references)
{
	*e = (struct environment){ .size = size, .references = references };
	e->payload = secret_alloc(room(e));
	e->variables = allocate(VARIABLES_MAX, sizeof(*e->variables));
}

static uint32_t u32(const char *at)
{
	const unsigned char *b = (const unsigned char *)at;

	return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static bool is_name(const char *name, size_t len)
{
	return len > 0 && !memchr(name, '\0', len) && !memchr(name, '=', len);
}

static long find_name(const struct environment *e, const char *name, size_t len)
{
	for (size_t i = 0; i < e->count; i++)
		if (e->variables[i].name_len == len && memcmp(e->variables[i].name, name, len) == 0)
			return (long)i;
	return -1;
}

/* Takes one variable from the front of *at. */
static bool take(struct environment *e, const char **at, const char *end)
{
	struct variable v;
	uint32_t value_len;

	if (end - *at < HEAD || e->count == VARIABLES_MAX)
		return false;
	v.name_len = u32(*at);
	value_len = u32(*at + 4);
	v.removed = value_len == REMOVED;
	v.value_len = v.removed ? 0 : value_len;
	v.name = *at + HEAD;
	if (v.name_len > (size_t)(end - v.name) || v.value_len > (size_t)(end - v.name) - v.name_len)
		return false;
	v.value = v.name + v.name_len;
	*at = v.value + v.value_len;
	if (!is_name(v.name, v.name_len) || memchr(v.value, '\0', v.value_len) || find_name(e, v.name, v.name_len) >= 0)
		return false;
	e->variables[e->count++] = v;
	return true;
}

bool environment_parse(struct environment *e)
{
	const char *at = e->payload, *end = at + e->size;

	e->count = 0;
	while (at < end)
		if (!take(e, &at, end))
			return false;
	return true;
}

long environment_find(const struct environment *e, const char *entry, size_t len)
{
	const char *equals = memchr(entry, '=', len);

	return equals ? find_name(e, entry, (size_t)(equals - entry)) : -1;
}

void environment_free(struct environment *e)
{
	secret_free(e->payload, room(e));
	free(e->variables);
	*e = (struct environment){ 0 };
}
