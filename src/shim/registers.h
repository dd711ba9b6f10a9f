#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

/* Reads the registers of a stopped 64-bit tracee. False with errno; EPFNOSUPPORT when it is a 32-bit program. */
bool registers_get(pid_t pid, struct user_regs_struct *registers);

/* Sets the stack pointer, and the rest as it was read. */
bool registers_set_stack(pid_t pid, struct user_regs_struct *registers, uint64_t sp);

uint64_t registers_stack(const struct user_regs_struct *registers);

/* Writes all registers of a stopped tracee. False with errno. */
bool registers_set(pid_t pid, const struct user_regs_struct *registers);
