/*
 * The one place that knows a processor: where the stack pointer stands among the registers (ptrace(2), NT_PRSTATUS). A 32-bit program
 * shows itself by a smaller register set; its stack has another layout, so it is refused by the callers.
 */

#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "registers.h"

#if defined(__x86_64__)
#define STACK_POINTER rsp
#elif defined(__aarch64__)
#define STACK_POINTER sp
#else
#error "purser-runtime knows the stack pointer of x86-64 and arm64 only"
#endif

bool registers_get(pid_t pid, struct user_regs_struct *registers)
{
	struct iovec area = { registers, sizeof(*registers) };

	if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &area) < 0)
		return false;
	if (area.iov_len != sizeof(*registers)) {
		errno = EPFNOSUPPORT;
		return false;
	}
	return true;
}

bool registers_set(pid_t pid, const struct user_regs_struct *registers)
{
	struct user_regs_struct copy = *registers;
	struct iovec area = { &copy, sizeof(copy) };

	return ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &area) == 0;
}

bool registers_set_stack(pid_t pid, struct user_regs_struct *registers, uint64_t sp)
{
	registers->STACK_POINTER = sp;
	return registers_set(pid, registers);
}

uint64_t registers_stack(const struct user_regs_struct *registers)
{
	return registers->STACK_POINTER;
}
