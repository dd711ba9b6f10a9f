/*
 * Runs shown.c over many stacks in one process, for shown.test.ts.
 * stdin: records of address of the stack pointer, floor (8 bytes each), lengths of stack, values and references (4 bytes each, little endian) and all three;
 * stdout: for each one status byte ('m' malformed payload, 's' no stack, 'n' nothing to hide, 'k' kept), and after 'k' the new stack pointer, start and end of the
 * block (8 bytes each), the image's length (4), the image, and the old stack as it must be then. Each has an allocation of its own size.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "shown.h"

struct head {
	uint64_t sp, floor;
	uint32_t stack, values, references;
} __attribute__((packed));

static void read_all(void *to, size_t size)
{
	if (fread(to, 1, size, stdin) != size)
		exit(1);
}

/* A payload in an allocation of its own size, so that AddressSanitizer sees each stray read. */
static bool take(struct environment *e, size_t size, char **page)
{
	environment_init(e, size, 0);
	*page = e->payload;
	e->payload = malloc(size ? size : 1);
	if (!e->payload)
		exit(1);
	read_all(e->payload, size);
	return environment_parse(e);
}

static void give_back(struct environment *e, char *page)
{
	free(e->payload);
	e->payload = page;
	environment_free(e);
}

static void answer(struct stack *s, struct delivered *d, uint64_t floor)
{
	struct shown shown;
	uint32_t size;

	if (!stack_parse(s)) {
		putchar('s');
		return;
	}
	if (!shown_needed(s, d)) {
		putchar('n');
		return;
	}
	shown_make(s, d, floor, &shown);
	size = (uint32_t)shown.image.size;
	putchar('k');
	fwrite(&shown.image.sp, 8, 1, stdout);
	fwrite(&shown.start, 8, 1, stdout);
	fwrite(&shown.end, 8, 1, stdout);
	fwrite(&size, 4, 1, stdout);
	fwrite(shown.image.bytes, 1, size, stdout);
	fwrite(s->words, 1, s->size, stdout);
	for (size_t i = 0; i < shown.count; i++)
		if (shown.covers[i].offset + shown.covers[i].len >= s->size)
			exit(2);
	shown_free(&shown);
}

int main(void)
{
	struct head head;

	while (fread(&head, sizeof(head), 1, stdin) == 1) {
		struct stack s = { .base = head.sp, .size = head.stack, .words = malloc(head.stack ? head.stack : 1) };
		struct delivered d;
		char *values, *references;
		bool whole;
		if (!s.words)
			return 1;
		read_all(s.words, head.stack);
		whole = take(&d.values, head.values, &values);
		whole = take(&d.references, head.references, &references) && whole;
		if (whole)
			answer(&s, &d, head.floor);
		else
			putchar('m');
		give_back(&d.values, values);
		give_back(&d.references, references);
		free(s.words);
	}
	return 0;
}
