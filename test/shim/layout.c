/*
 * Runs stack.c and environment.c over many stacks in one process, for layout.test.ts.
 * stdin: records of address of the stack pointer (8 bytes), length of the stack, length of the payload (4 bytes each, little endian) and both;
 * stdout: for each one status byte ('m' malformed payload, 's' no stack, 'v' variable missing, 'k' kept), and after 'k' the new stack pointer (8), the
 * image's length (4) and the image. Each stack and payload has an allocation of its own size, so that AddressSanitizer sees each stray read.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack.h"

struct head {
	uint64_t sp;
	uint32_t stack, payload;
};

static void answer(struct stack *s, struct environment *e)
{
	struct image image;
	uint32_t size;

	if (!environment_parse(e)) {
		putchar('m');
	} else if (!stack_parse(s)) {
		putchar('s');
	} else if (!stack_holds(s, e, NULL)) {
		putchar('v');
	} else {
		stack_image(s, e, &image);
		size = (uint32_t)image.size;
		putchar('k');
		fwrite(&image.sp, sizeof(image.sp), 1, stdout);
		fwrite(&size, sizeof(size), 1, stdout);
		fwrite(image.bytes, 1, image.size, stdout);
		image_free(&image);
	}
}

int main(void)
{
	struct head head;

	while (fread(&head, sizeof(head), 1, stdin) == 1) {
		struct stack s = { .base = head.sp, .size = head.stack, .words = malloc(head.stack ? head.stack : 1) };
		struct environment e;
		char *exact = malloc(head.payload ? head.payload : 1), *page;

		environment_init(&e, head.payload, 0);
		page = e.payload;
		e.payload = exact;
		if (!s.words || !exact || fread(s.words, 1, head.stack, stdin) != head.stack || fread(exact, 1, head.payload, stdin) != head.payload)
			return 1;
		answer(&s, &e);
		e.payload = page;
		environment_free(&e);
		free(exact);
		free(s.words);
	}
	return 0;
}
