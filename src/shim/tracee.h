#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "registers.h"
#include "stack.h"

/* A program that stands between its execve and its first instruction. */
struct tracee {
	pid_t pid;
	struct user_regs_struct registers;
	struct stack stack;
	uint64_t floor; /* the lowest mapped address of its stack */
};

/* Reads the program that the traced `pid` has just begun. False with a reason. */
bool tracee_read(struct tracee *t, pid_t pid, char *reason, size_t size);

/* Lets the program begin with the image on its stack. False with a reason; its stack pointer is then where it was. */
bool tracee_begin_with(struct tracee *t, const struct image *image, char *reason, size_t size);

/* Writes into the program's memory. False with errno. */
bool tracee_write(const struct tracee *t, uint64_t address, const void *bytes, size_t size);

/* Fine after a tracee_read() that failed. */
void tracee_free(struct tracee *t);
