#pragma once

#include <stddef.h>

/* What a look at a container's files found; flags, or'ed together. */
enum sight {
	SIGHT_REFERENCE = 1, /* a reference in an environment value, or a label of Purser's: the agent must answer */
	SIGHT_SECRET = 2,    /* Swarm secrets: the agent may make them live, Docker's own values do without it */
	SIGHT_DOUBT = 4,     /* Docker's record of the container does not read: the agent may know the labels elsewhere */
};

#define SIGHT_ROOTS 3

/* Docker root directories that the mounts of a bundle point into. */
struct docker_roots {
	char *path[SIGHT_ROOTS];
	int count;
};

/* Looks at `<bundle>/config.json` and at Docker's record of the container `id`. */
unsigned sight_bundle(const char *bundle, const char *id);

/* Looks at the file given to `runc exec --process`. */
unsigned sight_process(const char *path);

/* The three walkers, on a text that they overwrite; *whole tells whether it was well formed to its end. */
unsigned sight_in_config(char *text, size_t len, struct docker_roots *roots, int *whole);
unsigned sight_in_process(char *text, size_t len, int *whole);
unsigned sight_in_record(char *text, size_t len, int *whole);
