/*
 * Moves what the kernel takes for a program's environment: prctl(PR_SET_MM, PR_SET_MM_MAP, …), which needs no capability (prctl(2); kernel/sys.c,
 * validate_prctl_map_addr) but can only be called by the program itself. So it begins with 14 bytes of code that make the call, and then
 * rt_sigreturn(2) with a frame that holds the registers it would have begun with. All of that is in place before one PTRACE_SETREGSET makes it happen, so
 * a tracer that dies leaves a program that begins either way. If the call fails, the block stays where it was, with the values covered.
 *
 * The code stands in the unused end of the vDSO's last page, which becomes the process's own copy by that, as it would under a debugger.
 * Its seccomp profile applies: the agent has seen that the container's lets both calls return.
 */

#define _GNU_SOURCE
#include <elf.h>
#include <inttypes.h>
#include <linux/prctl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "bounds.h"
#include "file.h"

#if defined(__x86_64__)

/* Field numbers of /proc/PID/stat, proc(5). */
enum { START_CODE = 26, END_CODE = 27, START_STACK = 28, START_DATA = 45, END_DATA, START_BRK, ARG_START, ARG_END, ENV_START, ENV_END };
/* Out of reach below the stack pointer: the red zone has 128 bytes. */
#define RED_ZONE 256

/* mov $157,%eax; syscall; mov $15,%eax; syscall */
static const char code[16] = "\xb8\x9d\0\0\0\x0f\x05\xb8\x0f\0\0\0\x0f\x05";
_Static_assert(SYS_prctl == 0x9d && SYS_rt_sigreturn == 0x0f, "the code's system calls");

/* What the program finds below its stack when it begins with the code. */
struct frame {
	ucontext_t context; /* the kernel's layout as far as it reads it: arch/x86/include/asm/sigframe.h */
	struct prctl_mm_map map;
};

/* Where the code fits into the vDSO, which is the same in all 64-bit programs of a kernel; 0: nowhere. */
static uint64_t code_offset(void)
{
	static const char none[sizeof(code)];
	const char *image = (const char *)getauxval(AT_SYSINFO_EHDR);
	uint64_t start, end = 0, offset;
	char *line = NULL;
	size_t size = 0;
	FILE *maps = fopen("/proc/self/maps", "re");

	if (!maps || !image)
		return 0;
	while (getline(&line, &size, maps) >= 0)
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " r-xp", &start, &end) == 2 && start == (uint64_t)(uintptr_t)image)
			break;
		else
			end = 0;
	free(line);
	fclose(maps);
	if (!end)
		return 0;
	offset = end - start - sizeof(code);
	return memcmp(image + offset, none, sizeof(none)) == 0 ? offset : 0;
}

static uint64_t auxiliary(const struct stack *s, uint64_t type)
{
	for (size_t i = s->envp + s->envc + 1; i + 1 < s->block; i += 2)
		if (s->words[i] == type)
			return s->words[i + 1];
	return 0;
}

/* The addresses that the kernel has now. At the exec stop the heap is still empty: brk is where it starts. */
static bool read_map(pid_t pid, struct prctl_mm_map *map)
{
	uint64_t field[ENV_END + 1] = { 0 };
	char *path = format("/proc/%d/stat", (int)pid), line[2048], *at;
	FILE *file = fopen(path, "re");
	size_t n;

	free(path);
	if (!file)
		return false;
	n = fread(line, 1, sizeof(line) - 1, file);
	fclose(file);
	line[n] = '\0';
	/* The name, field 2, may hold anything; field 3 follows its last parenthesis. */
	at = strrchr(line, ')');
	for (int i = 3; at && i <= ENV_END; i++) {
		at = strchr(at + 1, ' ');
		if (at)
			field[i] = strtoull(at + 1, NULL, 10);
	}
	*map = (struct prctl_mm_map){
		.start_code = field[START_CODE], .end_code = field[END_CODE], .start_data = field[START_DATA], .end_data = field[END_DATA],
		.start_brk = field[START_BRK], .brk = field[START_BRK], .start_stack = field[START_STACK],
		.arg_start = field[ARG_START], .arg_end = field[ARG_END], .env_start = field[ENV_START], .env_end = field[ENV_END], .exe_fd = UINT32_MAX,
	};
	return at && field[ENV_START];
}

/*
 * A filter that the program's ancestors added inside the container may kill for a prctl that they did not foresee; the container's own profile
 * does not, the agent has looked. Kernels before 5.9 do not say.
 */
static bool has_one_filter(pid_t pid)
{
	char *path = format("/proc/%d/status", (int)pid), *line = NULL;
	FILE *file = fopen(path, "re");
	size_t size = 0;
	int count = 0;

	free(path);
	if (!file)
		return false;
	while (getline(&line, &size, file) >= 0 && sscanf(line, "Seccomp_filters: %d", &count) != 1)
		;
	free(line);
	fclose(file);
	return count == 1;
}

static bool poke_code(pid_t pid, uint64_t address)
{
	long words[sizeof(code) / sizeof(long)];

	memcpy(words, code, sizeof(code));
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (ptrace(PTRACE_POKETEXT, pid, address + i * sizeof(*words), words[i]) < 0)
			return false;
	return true;
}

/* The registers as they are, with the result of the execve that the program returns from. */
static bool fill_context(ucontext_t *context, const struct tracee *t)
{
	const struct user_regs_struct *r = &t->registers;
	greg_t *to = context->uc_mcontext.gregs;

	to[REG_R8] = (greg_t)r->r8;
	to[REG_R9] = (greg_t)r->r9;
	to[REG_R10] = (greg_t)r->r10;
	to[REG_R11] = (greg_t)r->r11;
	to[REG_R12] = (greg_t)r->r12;
	to[REG_R13] = (greg_t)r->r13;
	to[REG_R14] = (greg_t)r->r14;
	to[REG_R15] = (greg_t)r->r15;
	to[REG_RDI] = (greg_t)r->rdi;
	to[REG_RSI] = (greg_t)r->rsi;
	to[REG_RBP] = (greg_t)r->rbp;
	to[REG_RBX] = (greg_t)r->rbx;
	to[REG_RDX] = (greg_t)r->rdx;
	to[REG_RCX] = (greg_t)r->rcx;
	to[REG_RSP] = (greg_t)r->rsp;
	to[REG_RIP] = (greg_t)r->rip;
	to[REG_EFL] = (greg_t)r->eflags;
	to[REG_CSGSFS] = (greg_t)(r->cs | r->gs << 16 | r->fs << 32 | r->ss << 48);
	context->uc_stack.ss_flags = SS_DISABLE;
	/* The kernel's signal set has 8 bytes. */
	return ptrace(PTRACE_GETSIGMASK, t->pid, sizeof(uint64_t), &context->uc_sigmask) == 0;
}

void bounds_set(struct tracee *t, uint64_t start, uint64_t end)
{
	uint64_t vdso = auxiliary(&t->stack, AT_SYSINFO_EHDR), offset = code_offset(), at;
	struct user_regs_struct r = t->registers;
	struct frame frame = { 0 };

	at = (r.rsp - RED_ZONE - sizeof(frame)) & ~(uint64_t)15;
	if (!vdso || !offset || at < t->floor || !has_one_filter(t->pid) || !read_map(t->pid, &frame.map) || !fill_context(&frame.context, t))
		return;
	frame.map.env_start = start;
	frame.map.env_end = end;
	if (!tracee_write(t, at, &frame, sizeof(frame)) || !poke_code(t->pid, vdso + offset))
		return;
	r.rip = vdso + offset;
	r.rsp = at;
	r.rdi = PR_SET_MM;
	r.rsi = PR_SET_MM_MAP;
	r.rdx = at + offsetof(struct frame, map);
	r.r10 = sizeof(frame.map);
	r.r8 = 0;
	(void)registers_set(t->pid, &r);
}

#else

/* Not done on other processors: the values stay covered by references of their length. */
void bounds_set(struct tracee *t, uint64_t start, uint64_t end)
{
	(void)t;
	(void)start;
	(void)end;
}

#endif
