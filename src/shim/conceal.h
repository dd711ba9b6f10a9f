#pragma once

#include <sys/types.h>

#include "shown.h"

/*
 * Hides the delivered values that the traced `pid`, at its exec stop, has inherited: it keeps them, its kernel-visible block shows the references.
 * What cannot be done is left: a program must not fail for it.
 */
void conceal_values(pid_t pid, const struct delivered *d);
