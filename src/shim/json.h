#pragma once

#include <stdbool.h>
#include <stddef.h>

/* A decoded string inside the parsed text. May hold NUL bytes; not terminated. */
struct span {
	const char *at;
	size_t len;
};

struct json {
	char *at, *end;
	unsigned depth;
	bool fresh; /* just entered a container: no comma is due before the next element */
	bool bad;   /* sticky: the text is not JSON, or nested too deeply */
};

void json_init(struct json *j, char *text, size_t len);

/* Enters the next value if it is an object / array. Otherwise skips it and returns false. */
bool json_object(struct json *j);
bool json_array(struct json *j);

/* Moves to the next member / element of the container entered last; false at its end, which leaves it. */
bool json_key(struct json *j, struct span *key);
bool json_item(struct json *j);

/* Takes the next value if it is a string. Otherwise skips it and returns false. */
bool json_string(struct json *j, struct span *value);

/* Takes the next value if it is an integer that fits. Otherwise skips it and returns false. */
bool json_unsigned(struct json *j, unsigned long long *value);

void json_skip(struct json *j);

/* True when the whole text was one well-formed value and all of it has been walked. */
bool json_done(struct json *j);

bool span_is(struct span s, const char *word);
bool span_starts(struct span s, const char *prefix);
bool span_contains(struct span s, const char *part);
