#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "environment.h"
#include "stack.h"

/* Values that a process was given, and the texts that are shown in their place. */
struct delivered {
	struct environment values, references;
};

/* A string of the old stack that becomes another text of the same length. */
struct cover {
	size_t offset, len; /* in the bytes of the stack */
};

/* A stack whose program keeps its values while the kernel's environment block gets references. */
struct shown {
	struct image image;     /* wholly below the old stack pointer */
	uint64_t start, end;    /* the block in full, inside the image; equal: the old place holds it exactly */
	struct cover *covers;   /* what changed in stack->words and must be written back, after the image */
	size_t count;
};

/* True when the program has inherited a delivered value. */
bool shown_needed(const struct stack *s, const struct delivered *d);

/*
 * Lays it out, and covers the values in stack->words. Where the references do not have their values' lengths and the stack has the room above `floor`,
 * the image holds the full block too; without it, and until the kernel is told of it, a longer reference is cut and a shorter one followed by NULs.
 */
void shown_make(struct stack *s, const struct delivered *d, uint64_t floor, struct shown *out);

void shown_free(struct shown *shown);
