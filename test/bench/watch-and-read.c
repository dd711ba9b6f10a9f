/*
 * An application that follows its secret: waits for IN_MOVED_TO in a directory, reads the file with one read, and notes the
 * value with the time at which it had it. One small process, so that the measurement is not one of shells.
 * usage: watch-and-read DIRECTORY NAME NOTE
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	char path[4096], value[256], note[384], events[65536];
	snprintf(path, sizeof path, "%s/%s", argv[1], argv[2]);
	int watch = inotify_init1(IN_CLOEXEC);
	if (watch < 0 || inotify_add_watch(watch, argv[1], IN_MOVED_TO) < 0)
		return 1;
	do {
		int file = open(path, O_RDONLY);
		ssize_t length = read(file, value, sizeof value - 1);
		struct timespec now;
		clock_gettime(CLOCK_REALTIME, &now);
		close(file);
		if (length < 0)
			return 1;
		value[length] = 0;
		int size = snprintf(note, sizeof note, "%s %lld.%09ld\n", value, (long long)now.tv_sec, now.tv_nsec);
		int out = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC, 0644);
		if (write(out, note, size) != size)
			return 1;
		close(out);
	} while (read(watch, events, sizeof events) > 0);
	return 1;
}
