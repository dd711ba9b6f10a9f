/* Memory that holds values: it never reaches a core dump, the swap or a child, and is wiped before it is given back. */

#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "report.h"
#include "secret.h"

static struct rlimit core_limit;
static int core_limit_known;

void secret_protect_process(void)
{
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		die("the kernel does not let purser-runtime forbid core dumps", "run it as root");
	/* A second lock on the same door. Only the soft limit: the hard one could not always be given back to runc. */
	core_limit_known = getrlimit(RLIMIT_CORE, &core_limit) == 0
		&& setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, core_limit.rlim_max }) == 0;
}

void secret_restore_limits(void)
{
	if (core_limit_known)
		(void)setrlimit(RLIMIT_CORE, &core_limit);
}

void *secret_alloc(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		die("out of memory", "free some memory, then try again");
	/* Each is one more wall; a kernel that refuses one (a small RLIMIT_MEMLOCK) still has the others. */
	(void)mlock(memory, size);
	(void)madvise(memory, size, MADV_DONTDUMP);
	(void)madvise(memory, size, MADV_DONTFORK);
	return memory;
}

void secret_share(void *memory, size_t size)
{
	(void)madvise(memory, size, MADV_DOFORK);
}

void secret_free(void *memory, size_t size)
{
	if (!memory)
		return;
	explicit_bzero(memory, size);
	munmap(memory, size);
}
