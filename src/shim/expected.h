#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "environment.h"
#include "json.h"

/* The entries NAME=reference of a process file that the agent has answered for: they mark the process that runc starts for it. */
struct expected {
	char *text;
	struct span *entries;
	size_t count;
};

/* Reads the file given to `runc exec --process`. False when it does not read, or lacks a variable of `e`. */
bool expected_read(struct expected *x, const char *path, const struct environment *e);

bool expected_has(const struct expected *x, const char *entry, size_t len);

void expected_free(struct expected *x);
