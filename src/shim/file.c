/* Bounded file reading: regular files only, so that a FIFO or device in a bundle can never block a container start. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "report.h"

/* Returns the number of bytes read, which is `size` only if the file has at least that many, or -1. */
static ssize_t read_up_to(int fd, char *buffer, size_t size)
{
	size_t used = 0;

	while (used < size) {
		ssize_t n = read(fd, buffer + used, size - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		used += (size_t)n;
	}
	return (ssize_t)used;
}

enum file_state file_read(const char *path, size_t max, char **text, size_t *len)
{
	struct stat st;
	enum file_state state = FILE_UNREADABLE;
	char *buffer = NULL;
	ssize_t n;
	/* O_NONBLOCK: the open of a FIFO without a writer must not hang; fstat then refuses it. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? FILE_ABSENT : FILE_UNREADABLE;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= 0 && (size_t)st.st_size <= max) {
		/* One byte more than fstat said: a file that grew meanwhile shows itself and is refused. */
		size_t size = (size_t)st.st_size + 1;
		buffer = malloc(size);
		n = buffer ? read_up_to(fd, buffer, size) : -1;
		if (n >= 0 && (size_t)n < size) {
			*text = buffer;
			*len = (size_t)n;
			buffer = NULL;
			state = FILE_READ;
		}
	}
	free(buffer);
	close(fd);
	return state;
}

void *allocate(size_t count, size_t size)
{
	void *memory = calloc(count ? count : 1, size);

	if (!memory)
		die("out of memory", "free some memory, then try again");
	return memory;
}

char *format(const char *pattern, ...)
{
	va_list args;
	char *text;
	int n;

	va_start(args, pattern);
	n = vasprintf(&text, pattern, args);
	va_end(args);
	if (n < 0)
		die("out of memory", "free some memory, then try again");
	return text;
}
