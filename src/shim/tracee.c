/*
 * The memory and registers of a program at its exec stop. Nothing runs inside the program to read or change them, so its seccomp profile,
 * user, capabilities and libc do not matter.
 *
 * The room is what the kernel has mapped below the stack pointer (128 KiB at execve): writes from outside do not make a stack grow.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "file.h"
#include "tracee.h"

/* The kernel bounds argv and envp to 6 MiB. */
#define STACK_MAX (8u << 20)

static bool failed(char *reason, size_t size, const char *what)
{
	snprintf(reason, size, "%s: %s", what, strerror(errno));
	return false;
}

/* The mapping around `sp`. */
static bool find_mapping(pid_t pid, uint64_t sp, uint64_t *start, uint64_t *end)
{
	char *path = format("/proc/%d/maps", (int)pid), *line = NULL;
	FILE *maps = fopen(path, "re");
	size_t size = 0;
	bool found = false;

	free(path);
	if (!maps)
		return false;
	while (!found && getline(&line, &size, maps) >= 0)
		found = sscanf(line, "%" SCNx64 "-%" SCNx64, start, end) == 2 && *start <= sp && sp < *end;
	free(line);
	fclose(maps);
	if (!found)
		errno = EFAULT;
	return found;
}

enum direction { READ, WRITE };

/* All of it or nothing useful: a short count is an error. */
static bool copy(pid_t pid, enum direction direction, uint64_t address, void *bytes, size_t size)
{
	while (size > 0) {
		struct iovec here = { bytes, size }, there = { (void *)(uintptr_t)address, size };
		ssize_t n = direction == READ ? process_vm_readv(pid, &here, 1, &there, 1, 0) : process_vm_writev(pid, &here, 1, &there, 1, 0);
		if (n <= 0) {
			errno = n < 0 ? errno : EFAULT;
			return false;
		}
		bytes = (char *)bytes + n;
		address += (uint64_t)n;
		size -= (size_t)n;
	}
	return true;
}

static bool read_stack(struct tracee *t, char *reason, size_t size)
{
	struct stack *s = &t->stack;
	uint64_t end;

	s->base = registers_stack(&t->registers);
	if (!find_mapping(t->pid, s->base, &t->floor, &end))
		return failed(reason, size, "the program's stack cannot be found");
	s->size = (size_t)(end - s->base);
	if (s->size > STACK_MAX) {
		snprintf(reason, size, "the program's arguments and variables take %zu bytes of stack (at most %u)", s->size, STACK_MAX);
		return false;
	}
	s->words = allocate(1, s->size);
	if (!copy(t->pid, READ, s->base, s->words, s->size))
		return failed(reason, size, "the program's stack cannot be read");
	if (!stack_parse(s)) {
		snprintf(reason, size, "the program does not begin like a 64-bit one (use a file instead of an environment variable)");
		return false;
	}
	return true;
}

bool tracee_read(struct tracee *t, pid_t pid, char *reason, size_t size)
{
	*t = (struct tracee){ .pid = pid };
	if (registers_get(pid, &t->registers))
		return read_stack(t, reason, size);
	if (errno != EPFNOSUPPORT)
		return failed(reason, size, "the program's registers cannot be read");
	snprintf(reason, size, "the program is a 32-bit one (use a file instead of an environment variable)");
	return false;
}

bool tracee_write(const struct tracee *t, uint64_t address, const void *bytes, size_t size)
{
	return copy(t->pid, WRITE, address, (void *)(uintptr_t)bytes, size);
}

bool tracee_begin_with(struct tracee *t, const struct image *image, char *reason, size_t size)
{
	uint64_t base = t->stack.base;

	if (image->sp < t->floor) {
		snprintf(reason, size, "the values need %" PRIu64 " bytes of the program's stack, which has %" PRIu64 " (use files for the large ones)",
			base - image->sp, base - t->floor);
		return false;
	}
	if (!tracee_write(t, image->sp, image->bytes, image->size))
		return failed(reason, size, "the program's stack cannot be written");
	if (!registers_set_stack(t->pid, &t->registers, image->sp))
		return failed(reason, size, "the program's stack pointer cannot be set");
	return true;
}

void tracee_free(struct tracee *t)
{
	/* It may hold values that the program inherited. */
	if (t->stack.words)
		explicit_bzero(t->stack.words, t->stack.size);
	free(t->stack.words);
	t->stack.words = NULL;
}
