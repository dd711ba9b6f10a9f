/* Times open + read to the end + close of a file, again and again: usage: open-read-close FILE SECONDS
 * Prints rounds per second, and the 50th and 99th percentile of one round in microseconds. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MAX_ROUNDS 4000000

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	float d = *(const float *)a - *(const float *)b;

	return (d > 0) - (d < 0);
}

int main(int argc, char **argv)
{
	static float rounds[MAX_ROUNDS];
	char buffer[4096];
	size_t n = 0;
	double begin = now(), end = begin + (argc > 2 ? atof(argv[2]) : 2) * 1e6, t;

	while ((t = now()) < end && n < MAX_ROUNDS) {
		int fd = open(argv[1], O_RDONLY);

		if (fd < 0 || read(fd, buffer, sizeof buffer) != 64) {
			perror(argv[1]);
			return 1;
		}
		while (read(fd, buffer, sizeof buffer) > 0)
			;
		close(fd);
		rounds[n++] = now() - t;
	}
	t = now() - begin;
	qsort(rounds, n, sizeof rounds[0], compare);
	printf("%.0f %.1f %.1f\n", n / (t / 1e6), rounds[n / 2], rounds[n * 99 / 100]);
	return 0;
}
