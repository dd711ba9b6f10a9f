/*
 * Runs the walkers of src/shim/sight.c over many texts in one process, for walker.test.ts.
 * stdin: records of kind ('c' config, 'p' process, 'r' record), length (4 bytes, little endian) and text; stdout: one line
 * "<seen> <whole> <root>…" for each. Every text gets an allocation of exactly its size, so that AddressSanitizer sees each stray read.
 */

#include <stdio.h>
#include <stdlib.h>

#include "sight.h"

int main(void)
{
	unsigned char head[5];

	while (fread(head, 1, sizeof(head), stdin) == sizeof(head)) {
		size_t len = head[1] | (size_t)head[2] << 8 | (size_t)head[3] << 16 | (size_t)head[4] << 24;
		char *text = malloc(len ? len : 1);
		struct docker_roots roots = { .count = 0 };
		int whole = 0;
		unsigned seen;

		if (!text || fread(text, 1, len, stdin) != len)
			return 1;
		seen = head[0] == 'c' ? sight_in_config(text, len, &roots, &whole)
			: head[0] == 'p' ? sight_in_process(text, len, &whole)
			: sight_in_record(text, len, &whole);
		printf("%u %d", seen, whole);
		for (int i = 0; i < roots.count; i++) {
			printf(" %s", roots.path[i]);
			free(roots.path[i]);
		}
		putchar('\n');
		free(text);
	}
	return 0;
}
