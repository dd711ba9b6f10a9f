#pragma once

/* Prints `purser: error: …` and `purser: hint: …` to stderr. */
void complain(const char *error, const char *hint);

/* complain(), then exit(1). */
void die(const char *error, const char *hint) __attribute__((noreturn));
