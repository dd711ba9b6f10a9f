/* What the shim and the launcher say to the warden. */

#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "file.h"
#include "warden.h"

#define SOCKET PURSER_RUN_DIR "/warden.sock"
#define ANSWER_MS 5000

void warden_release(const struct run_dir *dir)
{
	long deadline = channel_now() + ANSWER_MS;
	int fd = channel_connect(dir->warden, deadline);
	char answer[8];

	if (fd < 0)
		return;
	if (channel_send(fd, "release\n", 8, deadline) == 0)
		(void)channel_read_line(fd, answer, sizeof(answer), deadline);
	close(fd);
}

bool warden_tell(pid_t pid, const struct environment *e, char *reason, size_t size)
{
	long deadline = channel_now() + ANSWER_MS;
	char *line = format("delivered %d %zu %zu\n", (int)pid, e->size, e->references), answer[32] = "";
	int fd = channel_connect(SOCKET, deadline);
	bool told = fd >= 0 && channel_send(fd, line, strlen(line), deadline) == 0 && channel_send(fd, e->payload, e->size + e->references, deadline) == 0
		&& channel_read_line(fd, answer, sizeof(answer), deadline) > 0;

	if (fd >= 0)
		close(fd);
	free(line);
	if (told && strcmp(answer, "ok") == 0)
		return true;
	snprintf(reason, size, "the warden, which purser.env=strict needs, %s", !told ? "does not answer (see the agent's log)" : "did not get this process from runc");
	return false;
}
