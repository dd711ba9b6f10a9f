#pragma once

#include <stddef.h>

/* From now on this process leaves no core dump and cannot be read by others than root. */
void secret_protect_process(void);

/* Undoes the limit on core files, which a container would inherit; for a child that becomes runc. */
void secret_restore_limits(void);

/* Zeroed memory for values: not in core dumps, not swapped, not in children. Ends the process when there is none. */
void *secret_alloc(size_t size);

/* Lets children have a copy after all. */
void secret_share(void *memory, size_t size);

/* Wipes and gives back. */
void secret_free(void *memory, size_t size);
