#pragma once

#include <stddef.h>
#include <sys/types.h>

/* A point in time, in milliseconds of CLOCK_MONOTONIC. */
long channel_now(void);

/* Connects to a unix stream socket; the peer must run as root. Returns a non-blocking, close-on-exec descriptor, or -1 with errno
 * (EPERM: the peer is not root; ETIMEDOUT: the deadline passed). */
int channel_connect(const char *path, long deadline);

/* Sends all of it. Returns 0, or -1 with errno. */
int channel_send(int fd, const char *text, size_t len, long deadline);

/* Reads up to and without the first '\n', and nothing behind it, into `line` (terminated). Returns its length, or -1 with errno (ECONNRESET: the peer closed
 * before the end of the line; EMSGSIZE: the line is longer than `size` - 1). */
ssize_t channel_read_line(int fd, char *line, size_t size, long deadline);

/* Reads exactly `size` bytes. Returns 0, or -1 with errno (ECONNRESET: the peer closed before). */
int channel_read(int fd, char *bytes, size_t size, long deadline);

/* Creates and listens on a socket that only its owner can open. Returns the descriptor, or -1 with errno. */
int channel_listen(const char *path);

/* 1 when the process at the other end runs as root. */
int channel_peer_is_root(int fd);
