// The end of a turn of the event loop, where what many callers ask for at once becomes one write. Requests are read in many small
// callbacks of the loop's poll phase; what is asked for there waits for the check phase behind it. The callers that are told
// there go on together, and what they ask for next needs no further turn: it runs as soon as none of them can go on by itself.
// That many times and no more: who asks again and again must not keep everybody else waiting.

/** A write of a request is a commit and an audit entry behind the first one; some commit twice. */
const MAX_FOLLOWING = 3;

let isEnding = false;
let following = 0;
let tasks: (() => void)[] = [];

/** Runs `task` once at the end of this turn; it must not throw. */
export function atEndOfTurn(task: () => void): void {
  if (isEnding && following < MAX_FOLLOWING) {
    following++;
    process.nextTick(task); // behind all promise callbacks that are due
    return;
  }
  if (tasks.push(task) > 1) return;
  setImmediate(() => {
    isEnding = true;
    const due = tasks;
    tasks = [];
    for (const each of due) each();
  });
  // The same phase, behind everything that follows from the one before.
  setImmediate(() => {
    isEnding = false;
    following = 0;
  });
}
