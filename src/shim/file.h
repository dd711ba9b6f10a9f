#pragma once

#include <stddef.h>

enum file_state { FILE_READ, FILE_ABSENT, FILE_UNREADABLE };

/* Reads a whole regular file of at most `max` bytes into *text (malloc, no trailing NUL). A larger file is FILE_UNREADABLE. */
enum file_state file_read(const char *path, size_t max, char **text, size_t *len);

/* printf into fresh memory; ends the process when there is none. */
char *format(const char *pattern, ...) __attribute__((format(printf, 1, 2)));

/* calloc that ends the process when there is no memory. */
void *allocate(size_t count, size_t size);
