/*
 * What a program that inherited values keeps, and what the kernel shows of it. At its exec stop the strings NAME=value stand in the kernel's
 * block (env_start to env_end). The values move to the gap below the stack, envp[i] with them, and the old strings are covered:
 *   sp → argc, argv…, NULL, envp… (re-pointed), NULL, auxiliary vector… | NAME=value\0… | NAME=reference\0, all others… | old block, unused
 * The last part is the block in full, for the kernel's bounds to be set to (bounds.c). Everything lies below the old stack pointer, so that
 * setting the new one is the one moment at which the program changes.
 * Pure: knows bytes and addresses, no process.
 */

#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "secret.h"
#include "shown.h"

#define ALIGNMENT 16
/* What the program itself may count on. */
#define ROOM_BELOW 4096

/* A variable of the program as it is, and as it is to be shown; the same unless it is exactly what was delivered. */
struct entry {
	const char *text;
	size_t len;
	const struct variable *reference; /* NULL: not one of ours, or changed by the program */
};

static const struct variable *find(const struct environment *e, const char *entry, size_t len)
{
	long found = environment_find(e, entry, len);

	return found < 0 ? NULL : &e->variables[found];
}

static struct entry entry_at(const struct stack *s, const struct delivered *d, size_t i)
{
	struct entry entry = { 0 };
	const struct variable *value;

	entry.text = stack_variable(s, i, &entry.len);
	value = find(&d->values, entry.text, entry.len);
	if (value && !value->removed && entry.len == value->name_len + 1 + value->value_len
	    && memcmp(entry.text + value->name_len + 1, value->value, value->value_len) == 0)
		entry.reference = find(&d->references, entry.text, entry.len);
	return entry;
}

static size_t shown_len(const struct entry *entry)
{
	return entry->reference ? entry->reference->name_len + 1 + entry->reference->value_len : entry->len;
}

bool shown_needed(const struct stack *s, const struct delivered *d)
{
	for (size_t i = 0; i < s->envc; i++)
		if (entry_at(s, d, i).reference)
			return true;
	return false;
}

/* All variables, looked at once: what is decided here holds for the whole layout, whatever the bytes of the stack become. */
struct plan {
	struct entry *entries;
	size_t count;
	size_t values, block; /* bytes of strings with their NULs */
	size_t covers;
	bool fits;            /* each reference is as long as its value */
};

static struct plan make_plan(const struct stack *s, const struct delivered *d)
{
	struct plan plan = { .entries = allocate(s->envc, sizeof(*plan.entries)), .count = s->envc, .fits = true };

	for (size_t i = 0; i < s->envc; i++) {
		struct entry *entry = &plan.entries[i];
		*entry = entry_at(s, d, i);
		plan.block += shown_len(entry) + 1;
		if (!entry->reference)
			continue;
		plan.values += entry->len + 1;
		plan.covers++;
		plan.fits = plan.fits && shown_len(entry) == entry->len;
	}
	return plan;
}

/* NAME=reference, at most `room` bytes and without a NUL. Returns its length. */
static size_t put_reference(char *out, size_t room, const struct variable *v)
{
	size_t head = v->name_len + 1, text = head + v->value_len < room ? v->value_len : room - head;

	memcpy(out, v->name, v->name_len);
	out[v->name_len] = '=';
	memcpy(out + head, v->value, text);
	return head + text;
}

/* The values, and where envp finds them. Returns the end of them. */
static char *put_values(const struct plan *plan, char *out, uint64_t *envp, uint64_t address)
{
	const char *start = out;

	for (size_t i = 0; i < plan->count; i++) {
		const struct entry *entry = &plan->entries[i];
		if (!entry->reference)
			continue;
		envp[i] = address + (uint64_t)(out - start);
		out = mempcpy(out, entry->text, entry->len + 1);
	}
	return out;
}

static void put_block(const struct plan *plan, char *out)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct entry *entry = &plan->entries[i];
		if (entry->reference)
			out += put_reference(out, shown_len(entry), entry->reference);
		else
			out = mempcpy(out, entry->text, entry->len);
		*out++ = '\0';
	}
}

static void cover(struct stack *s, const struct plan *plan, struct shown *shown)
{
	shown->covers = allocate(plan->covers, sizeof(*shown->covers));
	for (size_t i = 0; i < plan->count; i++) {
		const struct entry *entry = &plan->entries[i];
		size_t offset = (size_t)(entry->text - (const char *)s->words), used;
		char *out = (char *)s->words + offset;
		if (!entry->reference)
			continue;
		used = put_reference(out, entry->len, entry->reference);
		memset(out + used, '\0', entry->len - used);
		shown->covers[shown->count++] = (struct cover){ offset, entry->len };
	}
}

void shown_make(struct stack *s, const struct delivered *d, uint64_t floor, struct shown *shown)
{
	struct plan plan = make_plan(s, d);
	size_t words = s->block * sizeof(*s->words), room = plan.fits ? 0 : plan.block;
	uint64_t *block;
	char *end;

	if (words + plan.values + room + ROOM_BELOW > s->base - floor)
		room = 0;
	*shown = (struct shown){ .image.size = words + plan.values + room };
	shown->image.sp = (s->base - shown->image.size) & ~(uint64_t)(ALIGNMENT - 1);
	shown->image.bytes = secret_alloc(shown->image.size);
	block = memcpy(shown->image.bytes, s->words, words);
	end = put_values(&plan, shown->image.bytes + words, block + s->envp, shown->image.sp + words);
	shown->start = shown->image.sp + (uint64_t)(end - shown->image.bytes);
	shown->end = shown->start + room;
	if (room)
		put_block(&plan, end);
	cover(s, &plan, shown);
	free(plan.entries);
}

void shown_free(struct shown *shown)
{
	image_free(&shown->image);
	free(shown->covers);
	*shown = (struct shown){ 0 };
}
