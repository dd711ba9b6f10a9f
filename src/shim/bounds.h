#pragma once

#include <stdint.h>

#include "tracee.h"

/*
 * Lets a program at its exec stop begin by telling the kernel that its environment block lies from `start` to `end`, where its kernel and its
 * seccomp filters allow that. To be detached right after.
 */
void bounds_set(struct tracee *t, uint64_t start, uint64_t end);
