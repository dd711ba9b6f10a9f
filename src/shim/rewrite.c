/*
 * Writes the values into a program between its execve and its first instruction: reads its stack, lets stack.c lay out the new one, writes
 * it with one process_vm_writev and sets the stack pointer. Nothing runs inside the program for it, so its seccomp profile, user,
 * capabilities and libc do not matter.
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
#include "registers.h"
#include "rewrite.h"
#include "stack.h"

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

/* Reads the stack and its lowest mapped address. */
static bool read_stack(pid_t pid, struct stack *s, uint64_t *floor, char *reason, size_t size)
{
	uint64_t end;

	if (!find_mapping(pid, s->base, floor, &end))
		return failed(reason, size, "the program's stack cannot be found");
	s->size = (size_t)(end - s->base);
	if (s->size > STACK_MAX) {
		snprintf(reason, size, "the program's arguments and variables take %zu bytes of stack (at most %u)", s->size, STACK_MAX);
		return false;
	}
	s->words = allocate(1, s->size);
	if (!copy(pid, READ, s->base, s->words, s->size))
		return failed(reason, size, "the program's stack cannot be read");
	if (!stack_parse(s)) {
		snprintf(reason, size, "the program does not begin like a 64-bit one (use a file instead of an environment variable)");
		return false;
	}
	return true;
}

static bool write_stack(pid_t pid, struct user_regs_struct *registers, const struct image *image, uint64_t floor, char *reason, size_t size)
{
	uint64_t base = registers_stack(registers);

	if (image->sp < floor) {
		snprintf(reason, size, "the values need %" PRIu64 " bytes of the program's stack, which has %" PRIu64 " (use files for the large ones)",
			base - image->sp, base - floor);
		return false;
	}
	if (!copy(pid, WRITE, image->sp, image->bytes, image->size))
		return failed(reason, size, "the program's stack cannot be written");
	if (!registers_set_stack(pid, registers, image->sp))
		return failed(reason, size, "the program's stack pointer cannot be set");
	return true;
}

static enum rewrite rewrite(pid_t pid, struct user_regs_struct *registers, struct stack *s, const struct environment *e,
	const struct expected *expected, char *reason, size_t size)
{
	struct image image;
	uint64_t floor;
	bool done;

	if (!read_stack(pid, s, &floor, reason, size))
		return REWRITE_FAILED;
	if (!stack_holds(s, e, expected)) {
		snprintf(reason, size, "a variable with a reference is missing in the program's environment");
		return expected ? REWRITE_OTHER : REWRITE_FAILED;
	}
	stack_image(s, e, &image);
	done = write_stack(pid, registers, &image, floor, reason, size);
	image_free(&image);
	return done ? REWRITE_DONE : REWRITE_FAILED;
}

enum rewrite rewrite_environment(pid_t pid, const struct environment *e, const struct expected *expected, char *reason, size_t size)
{
	struct user_regs_struct registers;
	struct stack s = { 0 };
	enum rewrite result;

	if (!registers_get(pid, &registers)) {
		if (errno == EPFNOSUPPORT)
			snprintf(reason, size, "the program is a 32-bit one (use a file instead of an environment variable)");
		else
			(void)failed(reason, size, "the program's registers cannot be read");
		return REWRITE_FAILED;
	}
	s.base = registers_stack(&registers);
	result = rewrite(pid, &registers, &s, e, expected, reason, size);
	free(s.words);
	return result;
}
