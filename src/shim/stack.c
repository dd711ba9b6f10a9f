/*
 * The stack at a program's first instruction (System V ABI, the same for x86-64 and arm64), as 64-bit words:
 *   argc, argv…, NULL, envp…, NULL, auxiliary vector…, AT_NULL
 * with the strings far above. The new image is that block, moved down by what the new strings need and still 16-byte aligned, and the strings in
 * the gap:
 *   sp → argc, argv…, NULL, envp… (re-pointed, removed ones left out), NULL, auxiliary vector… | NAME=value\0… → end of the old block
 * The kernel's idea of the environment (env_start to env_end) is the old strings above, so /proc/PID/environ never shows a value.
 * Pure: knows bytes and addresses, no process.
 */

#define _GNU_SOURCE
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "secret.h"
#include "stack.h"

#define WORD sizeof(uint64_t)
#define ALIGNMENT 16

/* The string at an address of the traced process, or NULL when it does not lie on this stack. */
static const char *string_at(const struct stack *s, uint64_t address, size_t *len)
{
	const char *text;
	size_t offset;

	if (address < s->base || address - s->base >= s->size)
		return NULL;
	offset = (size_t)(address - s->base);
	text = (const char *)s->words + offset;
	*len = strnlen(text, s->size - offset);
	return *len < s->size - offset ? text : NULL;
}

/* Moves *at over a list of pointers to strings and its NULL. */
static bool skip_strings(const struct stack *s, size_t *at, size_t words)
{
	size_t len;

	for (; *at < words; ++*at) {
		if (s->words[*at] == 0) {
			++*at;
			return true;
		}
		if (!string_at(s, s->words[*at], &len))
			return false;
	}
	return false;
}

bool stack_parse(struct stack *s)
{
	size_t words = s->size / WORD, at = 1;

	if (s->base % ALIGNMENT != 0 || words < 1 || !skip_strings(s, &at, words) || at - 2 != s->words[0])
		return false;
	s->envp = at;
	if (!skip_strings(s, &at, words))
		return false;
	s->envc = at - 1 - s->envp;
	while (at + 1 < words) {
		at += 2;
		if (s->words[at - 2] == AT_NULL) {
			s->block = at;
			return true;
		}
	}
	return false;
}

const char *stack_variable(const struct stack *s, size_t i, size_t *len)
{
	const char *text = string_at(s, s->words[s->envp + i], len);

	return text ? text : (*len = 0, "");
}

/* Which variable envp[i] sets, or -1. */
static long variable_at(const struct stack *s, const struct environment *e, size_t i, const char **entry, size_t *len)
{
	*entry = stack_variable(s, i, len);
	return environment_find(e, *entry, *len);
}

bool stack_holds(const struct stack *s, const struct environment *e, const struct expected *expected)
{
	bool *seen = allocate(e->count, sizeof(*seen));
	size_t missing = e->count, len;
	const char *entry;

	for (size_t i = 0; i < s->envc; i++) {
		long found = variable_at(s, e, i, &entry, &len);
		if (found >= 0 && !seen[found] && (!expected || expected_has(expected, entry, len))) {
			seen[found] = true;
			missing--;
		}
	}
	free(seen);
	return missing == 0;
}

static size_t strings_size(const struct environment *e)
{
	size_t size = 0;

	for (size_t i = 0; i < e->count; i++)
		if (!e->variables[i].removed)
			size += e->variables[i].name_len + 1 + e->variables[i].value_len + 1;
	return size;
}

/* Writes the strings to the image at `offset`; address[i] is then where variable i stands in the process. */
static void put_strings(const struct environment *e, struct image *image, size_t offset, uint64_t *address)
{
	for (size_t i = 0; i < e->count; i++) {
		const struct variable *v = &e->variables[i];
		char *out = image->bytes + offset;
		if (v->removed)
			continue;
		address[i] = image->sp + offset;
		out = mempcpy(out, v->name, v->name_len);
		*out++ = '=';
		out = mempcpy(out, v->value, v->value_len);
		*out++ = '\0';
		offset = (size_t)(out - image->bytes);
	}
}

static void put_block(const struct stack *s, const struct environment *e, const uint64_t *address, uint64_t *out)
{
	const char *entry;
	size_t len;

	out = mempcpy(out, s->words, s->envp * WORD);
	for (size_t i = 0; i < s->envc; i++) {
		long found = variable_at(s, e, i, &entry, &len);
		if (found < 0)
			*out++ = s->words[s->envp + i];
		else if (!e->variables[found].removed)
			*out++ = address[found];
	}
	memcpy(out, s->words + s->envp + s->envc, (s->block - s->envp - s->envc) * WORD);
}

void stack_image(const struct stack *s, const struct environment *e, struct image *image)
{
	size_t block = s->block * WORD, strings = strings_size(e);
	uint64_t *address = allocate(e->count, sizeof(*address));

	/* Removed pointers make the block shorter, never longer: what they leave lies between the strings' end and the old block's. */
	image->sp = (s->base - strings) & ~(uint64_t)(ALIGNMENT - 1);
	image->size = (size_t)(s->base - image->sp) + block;
	image->bytes = secret_alloc(image->size);
	put_strings(e, image, block, address);
	put_block(s, e, address, (uint64_t *)(void *)image->bytes);
	free(address);
}

void image_free(struct image *image)
{
	secret_free(image->bytes, image->size);
	*image = (struct image){ 0 };
}
