/*
 * A JSON walker (RFC 8259) over one text in memory: no allocation, one pass, bounded depth, and it decodes strings in place
 * (the decoded form is never longer), so "purser:\/\/" and "purser://" are the same string to the callers.
 * The first fault sets `bad` and moves to the end of the text; from then on every call returns false.
 */

#define _GNU_SOURCE
#include <string.h>

#include "json.h"

/* Docker's files nest about ten deep. The bound keeps the recursion of json_skip() within a few KiB of stack. */
#define MAX_DEPTH 128

void json_init(struct json *j, char *text, size_t len)
{
	*j = (struct json){ .at = text, .end = text + len };
}

static bool fail(struct json *j)
{
	j->bad = true;
	j->at = j->end;
	return false;
}

/* The next byte after white space, or -1 at the end of the text. Does not consume it. */
static int peek(struct json *j)
{
	while (j->at < j->end && (*j->at == ' ' || *j->at == '\n' || *j->at == '\r' || *j->at == '\t'))
		j->at++;
	return j->at < j->end ? (unsigned char)*j->at : -1;
}

static int hex4(const struct json *j, const char *p)
{
	int value = 0;

	if (j->end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = p[i];
		int digit = c >= '0' && c <= '9' ? c - '0'
			: c >= 'a' && c <= 'f' ? c - 'a' + 10
			: c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
		if (digit < 0)
			return -1;
		value = value * 16 + digit;
	}
	return value;
}

static char *put_utf8(char *out, unsigned code)
{
	if (code < 0x80) {
		*out++ = (char)code;
	} else if (code < 0x800) {
		*out++ = (char)(0xc0 | code >> 6);
		*out++ = (char)(0x80 | (code & 0x3f));
	} else if (code < 0x10000) {
		*out++ = (char)(0xe0 | code >> 12);
		*out++ = (char)(0x80 | (code >> 6 & 0x3f));
		*out++ = (char)(0x80 | (code & 0x3f));
	} else {
		*out++ = (char)(0xf0 | code >> 18);
		*out++ = (char)(0x80 | (code >> 12 & 0x3f));
		*out++ = (char)(0x80 | (code >> 6 & 0x3f));
		*out++ = (char)(0x80 | (code & 0x3f));
	}
	return out;
}

/* Decodes \uXXXX (with j->at on the first digit) and a following low surrogate; a lone half becomes U+FFFD, as in Go. */
static bool unicode_escape(struct json *j, char **out)
{
	int low, code = hex4(j, j->at);

	if (code < 0)
		return fail(j);
	j->at += 4;
	if (code >= 0xd800 && code < 0xdc00 && j->end - j->at >= 6 && j->at[0] == '\\' && j->at[1] == 'u'
	    && (low = hex4(j, j->at + 2)) >= 0xdc00 && low < 0xe000) {
		j->at += 6;
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	}
	*out = put_utf8(*out, code >= 0xd800 && code < 0xe000 ? 0xfffd : (unsigned)code);
	return true;
}

static bool escape(struct json *j, char **out)
{
	static const char names[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
	const char *name;

	if (j->at == j->end)
		return fail(j);
	if (*j->at == 'u') {
		j->at++;
		return unicode_escape(j, out);
	}
	name = memchr(names, *j->at, sizeof(names) - 1);
	if (!name)
		return fail(j);
	*(*out)++ = bytes[name - names];
	j->at++;
	return true;
}

/* With j->at on the opening quote. */
static bool take_string(struct json *j, struct span *value)
{
	char *out = ++j->at;

	value->at = out;
	while (j->at < j->end) {
		unsigned char c = (unsigned char)*j->at++;
		if (c == '"') {
			value->len = (size_t)(out - value->at);
			return true;
		}
		if (c < 0x20)
			return fail(j);
		if (c != '\\')
			*out++ = (char)c;
		else if (!escape(j, &out))
			return false;
	}
	return fail(j);
}

static bool digits(struct json *j)
{
	char *start = j->at;

	while (j->at < j->end && *j->at >= '0' && *j->at <= '9')
		j->at++;
	return j->at > start;
}

static bool skip_number(struct json *j)
{
	if (*j->at == '-')
		j->at++;
	if (j->at < j->end && *j->at == '0')
		j->at++;
	else if (!digits(j))
		return fail(j);
	if (j->at < j->end && *j->at == '.') {
		j->at++;
		if (!digits(j))
			return fail(j);
	}
	if (j->at < j->end && (*j->at == 'e' || *j->at == 'E')) {
		j->at++;
		if (j->at < j->end && (*j->at == '+' || *j->at == '-'))
			j->at++;
		if (!digits(j))
			return fail(j);
	}
	return true;
}

static bool skip_word(struct json *j, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(j->end - j->at) < len || memcmp(j->at, word, len) != 0)
		return fail(j);
	j->at += len;
	return true;
}

static bool enter(struct json *j, int bracket)
{
	if (peek(j) != bracket) {
		json_skip(j);
		return false;
	}
	if (++j->depth > MAX_DEPTH)
		return fail(j);
	j->at++;
	j->fresh = true;
	return true;
}

/* Moves past the comma before the next element, or past the closing bracket (and returns false). */
static bool next(struct json *j, int bracket)
{
	int c = peek(j);

	if (c < 0)
		return fail(j);
	if (c == bracket) {
		j->at++;
		j->depth--;
		j->fresh = false;
		return false;
	}
	if (!j->fresh) {
		if (c != ',')
			return fail(j);
		j->at++;
	}
	j->fresh = false;
	return true;
}

bool json_object(struct json *j)
{
	return enter(j, '{');
}

bool json_array(struct json *j)
{
	return enter(j, '[');
}

bool json_item(struct json *j)
{
	return next(j, ']');
}

bool json_key(struct json *j, struct span *key)
{
	if (!next(j, '}'))
		return false;
	if (peek(j) != '"')
		return fail(j);
	if (!take_string(j, key))
		return false;
	if (peek(j) != ':')
		return fail(j);
	j->at++;
	return true;
}

bool json_string(struct json *j, struct span *value)
{
	if (peek(j) == '"')
		return take_string(j, value);
	json_skip(j);
	return false;
}

bool json_unsigned(struct json *j, unsigned long long *value)
{
	unsigned long long number = 0;
	const char *start;
	bool fits = true;

	peek(j);
	start = j->at;
	json_skip(j);
	if (j->bad)
		return false;
	for (const char *c = start; c < j->at && fits; c++)
		fits = *c >= '0' && *c <= '9' && !__builtin_mul_overflow(number, 10, &number) && !__builtin_add_overflow(number, *c - '0', &number);
	if (fits)
		*value = number;
	return fits;
}

void json_skip(struct json *j)
{
	struct span ignored;

	switch (peek(j)) {
	case '{':
		for (json_object(j); json_key(j, &ignored);)
			json_skip(j);
		break;
	case '[':
		for (json_array(j); json_item(j);)
			json_skip(j);
		break;
	case '"':
		take_string(j, &ignored);
		break;
	case 't':
		skip_word(j, "true");
		break;
	case 'f':
		skip_word(j, "false");
		break;
	case 'n':
		skip_word(j, "null");
		break;
	case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
		skip_number(j);
		break;
	default:
		fail(j);
	}
}

bool json_done(struct json *j)
{
	return peek(j) < 0 && !j->bad;
}

bool span_is(struct span s, const char *word)
{
	return s.len == strlen(word) && memcmp(s.at, word, s.len) == 0;
}

bool span_starts(struct span s, const char *prefix)
{
	return s.len >= strlen(prefix) && memcmp(s.at, prefix, strlen(prefix)) == 0;
}

bool span_contains(struct span s, const char *part)
{
	return memmem(s.at, s.len, part, strlen(part)) != NULL;
}
