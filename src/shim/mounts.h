#pragma once

/* Takes away every mount of Purser's on `path`, without touching what is mounted there. Fails on a foreign mount. 0, or -1 with errno
 * (EBUSY: something that is not Purser's is mounted there). */
int mounts_clear(const char *path);

/* 1 when Purser's filesystem is mounted on `path` in this mount namespace, else 0. */
int mounts_has(const char *path);

/* Mounts the FUSE connection `fd` on `fs` and binds it read-only on `ro`. 0, or -1 with errno. */
int mounts_make(int fd, const char *fs, const char *ro);
