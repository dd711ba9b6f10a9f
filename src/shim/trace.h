#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The threads that this process traces. */
struct trace {
	pid_t *tids;
	size_t count, capacity;
	bool letting_go;
};

/* What a thread may bring under the trace with it. */
enum follow { FOLLOW_THREADS, FOLLOW_CHILDREN };

/* Seizes one process with all its threads. False with errno; what was seized until then dies with this process. */
bool trace_seize(struct trace *t, pid_t pid, enum follow follow);

enum trace_news {
	TRACE_NOTHING,
	TRACE_EXEC,  /* `pid` stands at its exec stop until trace_resume() or trace_detach() */
	TRACE_ENDED, /* `pid` has ended with `status` */
};

/* Takes what waitpid() told and keeps every other tracee going. */
enum trace_news trace_note(struct trace *t, pid_t pid, int status);

void trace_resume(pid_t pid, int signal);
void trace_detach(struct trace *t, pid_t pid, int signal);

/* Detaches from everything, each at its next stop, for which it is asked. */
void trace_let_go(struct trace *t);

/* Kills everything that is still traced. */
void trace_kill(struct trace *t);

void trace_free(struct trace *t);
