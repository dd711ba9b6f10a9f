#pragma once

#include <stdbool.h>
#include <stddef.h>

#define ENVIRONMENT_MAX (256u << 10)
#define REFERENCES_MAX (1u << 20)

/* A variable as the process must see it. Points into the payload; not terminated. */
struct variable {
	const char *name, *value;
	size_t name_len, value_len;
	bool removed;
};

/* The agent's answer: the payload, and what was found in it. */
struct environment {
	char *payload;
	size_t size;
	size_t references; /* bytes behind the payload, in the same form: what is to be shown for the values (purser.env=strict); 0: not wanted */
	struct variable *variables;
	size_t count;
};

/* Makes room for a payload of `size` bytes and for references, to be filled; the payload is then parsed. */
void environment_init(struct environment *e, size_t size, size_t references);

/* Finds the variables in the filled payload. False when it is malformed; then nothing of it may be used. */
bool environment_parse(struct environment *e);

/* The index of the variable that an entry NAME=… sets, or -1. */
long environment_find(const struct environment *e, const char *entry, size_t len);

/* Wipes everything. Fine on a zeroed structure. */
void environment_free(struct environment *e);
