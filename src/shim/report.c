/* The voice of Purser's command line: one lowercase line that says what went wrong, one that says what to do next. */

#include <stdio.h>
#include <stdlib.h>

#include "report.h"

void complain(const char *error, const char *hint)
{
	fprintf(stderr, "purser: error: %s\npurser: hint: %s\n", error, hint);
}

void die(const char *error, const char *hint)
{
	complain(error, hint);
	exit(1);
}
