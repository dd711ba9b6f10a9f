/*
 * Hides inherited values from the kernel's environment block of a program at its exec stop. In this order, so that whatever ends it early
 * leaves a whole program: the new stack below the old one, the stack pointer, the covers, and last the block's bounds.
 */

#define _GNU_SOURCE
#include <stddef.h>

#include "bounds.h"
#include "conceal.h"
#include "tracee.h"

static void conceal(struct tracee *t, const struct delivered *d)
{
	struct shown shown;
	char reason[256];

	shown_make(&t->stack, d, t->floor, &shown);
	if (tracee_begin_with(t, &shown.image, reason, sizeof(reason))) {
		for (size_t i = 0; i < shown.count; i++)
			(void)tracee_write(t, t->stack.base + shown.covers[i].offset, (const char *)t->stack.words + shown.covers[i].offset, shown.covers[i].len);
		if (shown.end > shown.start)
			bounds_set(t, shown.start, shown.end);
	}
	shown_free(&shown);
}

void conceal_values(pid_t pid, const struct delivered *d)
{
	char reason[256];
	struct tracee t;

	if (tracee_read(&t, pid, reason, sizeof(reason)) && shown_needed(&t.stack, d))
		conceal(&t, d);
	tracee_free(&t);
}
