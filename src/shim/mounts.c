/*
 * The mounts of the FUSE connection, made and removed without one request to its server: until the agent has answered INIT, and
 * whenever an agent hangs, anything that looks at the mounted root waits for an answer that may not come. So mountinfo is read instead
 * of stat(), and mounts go away with MNT_DETACH. mount(2) with MS_BIND and its remount do not ask the filesystem either (measured).
 *
 * The read-only mount is made read-only before it is attached, where the kernel can (5.12): its copies in other mount namespaces keep the flags that
 * it has at that moment, and a remount would not reach them. An agent in a container lives by such a copy.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "file.h"
#include "mounts.h"

#define SOURCE_NAME "purser"
#define FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC)

enum found { FOUND_NOTHING, FOUND_OURS, FOUND_FOREIGN, FOUND_ERROR };

/* mountinfo writes space, tab, newline and backslash as three octal digits. */
static void unescape(char *text)
{
	char *out = text;

	for (; *text; text++) {
		if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] && text[3]) {
			*out++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
			text += 3;
		} else {
			*out++ = *text;
		}
	}
	*out = '\0';
}

/* proc(5): "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw": is this line a mount on `path`, and of what? */
static enum found classify(char *line, const char *path)
{
	char *save, *point = NULL, *rest = strstr(line, " - "), *type, *source;

	if (!rest)
		return FOUND_NOTHING;
	*rest = '\0';
	point = strtok_r(line, " ", &save);
	for (int i = 0; point && i < 4; i++)
		point = strtok_r(NULL, " ", &save);
	if (!point)
		return FOUND_NOTHING;
	unescape(point);
	if (strcmp(point, path) != 0)
		return FOUND_NOTHING;
	type = strtok_r(rest + 3, " ", &save);
	source = strtok_r(NULL, " ", &save);
	return type && source && strcmp(type, "fuse") == 0 && strcmp(source, SOURCE_NAME) == 0 ? FOUND_OURS : FOUND_FOREIGN;
}

/* What lies on top at `path`: the last line that names it. */
static enum found look(const char *path)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	enum found top = FOUND_NOTHING, found;
	char *line = NULL;
	size_t size = 0;

	if (!file)
		return FOUND_ERROR;
	while (getline(&line, &size, file) >= 0)
		if ((found = classify(line, path)) != FOUND_NOTHING)
			top = found;
	free(line);
	fclose(file);
	return top;
}

int mounts_clear(const char *path)
{
	for (;;) {
		switch (look(path)) {
		case FOUND_NOTHING:
			return 0;
		case FOUND_OURS:
			if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
				return -1;
			break;
		case FOUND_FOREIGN:
			errno = EBUSY;
			return -1;
		case FOUND_ERROR:
			return -1;
		}
	}
}

int mounts_has(const char *path)
{
	return look(path) == FOUND_OURS;
}

/* include/uapi/linux/mount.h, which does not go together with sys/mount.h in every libc. */
static int attach_read_only(const char *fs, const char *ro)
{
	const unsigned int clone = 1, empty_path = 4;
	const struct {
		uint64_t set, clear, propagation, userns;
	} attributes = { .set = 1 /* RDONLY */ | 2 /* NOSUID */ | 4 /* NODEV */ | 8 /* NOEXEC */, .propagation = MS_PRIVATE };
	int tree = (int)syscall(SYS_open_tree, AT_FDCWD, fs, clone | O_CLOEXEC), result, error;

	if (tree < 0)
		return -1;
	result = (int)syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof(attributes));
	if (result == 0)
		result = (int)syscall(SYS_move_mount, tree, "", AT_FDCWD, ro, empty_path);
	error = errno;
	close(tree);
	errno = error;
	return result;
}

static int bind_read_only(const char *fs, const char *ro)
{
	if (mount(fs, ro, NULL, MS_BIND, NULL) < 0)
		return -1;
	return mount(NULL, ro, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | FLAGS, NULL);
}

int mounts_make(int fd, const char *fs, const char *ro)
{
	char *options = format("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", fd);
	int result = mount(SOURCE_NAME, fs, "fuse", FLAGS, options), error;

	free(options);
	if (result < 0)
		return -1;
	if (attach_read_only(fs, ro) < 0 && bind_read_only(fs, ro) < 0) {
		error = errno;
		(void)mounts_clear(ro);
		(void)mounts_clear(fs);
		errno = error;
		return -1;
	}
	return 0;
}
