/*
 * Writes the values into a program between its execve and its first instruction: reads its stack (tracee.c), lets stack.c lay out the new
 * one, writes it with one process_vm_writev and sets the stack pointer.
 */

#define _GNU_SOURCE
#include <stdio.h>

#include "rewrite.h"
#include "stack.h"
#include "tracee.h"

static enum rewrite rewrite(struct tracee *t, const struct environment *e, const struct expected *expected, char *reason, size_t size)
{
	struct image image;
	bool done;

	if (!stack_holds(&t->stack, e, expected)) {
		snprintf(reason, size, "a variable with a reference is missing in the program's environment");
		return expected ? REWRITE_OTHER : REWRITE_FAILED;
	}
	stack_image(&t->stack, e, &image);
	done = tracee_begin_with(t, &image, reason, size);
	image_free(&image);
	return done ? REWRITE_DONE : REWRITE_FAILED;
}

enum rewrite rewrite_environment(pid_t pid, const struct environment *e, const struct expected *expected, char *reason, size_t size)
{
	struct tracee t;
	enum rewrite result = REWRITE_FAILED;

	if (tracee_read(&t, pid, reason, size))
		result = rewrite(&t, e, expected, reason, size);
	tracee_free(&t);
	return result;
}
