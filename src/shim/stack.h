#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "environment.h"
#include "expected.h"

/* The stack of a program at its first instruction, from the stack pointer to the end of the mapping. */
struct stack {
	uint64_t base;    /* the address of words[0] */
	uint64_t *words;
	size_t size;      /* bytes */
	size_t envp, envc; /* the first pointer to a variable, and how many */
	size_t block;     /* words from argc to the end of the auxiliary vector */
};

/* What the memory from `sp` up to the old block's end must become. */
struct image {
	uint64_t sp;
	char *bytes;
	size_t size;
};

/* Finds envp and the end of the block. False when this is not the stack of a 64-bit program that has just begun. */
bool stack_parse(struct stack *s);

/* The string that envp[i] points to; stack_parse() has checked that it stands on the stack. */
const char *stack_variable(const struct stack *s, size_t i, size_t *len);

/* True when every variable of `e` stands on the stack: by its name or, with `expected`, with a value that is expected. */
bool stack_holds(const struct stack *s, const struct environment *e, const struct expected *expected);

/* Lays out the block with the values. The image is secret memory; the caller gives it back with image_free(). */
void stack_image(const struct stack *s, const struct environment *e, struct image *image);

void image_free(struct image *image);
