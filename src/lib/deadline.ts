// A bound on the time that something may take. The work itself is not stopped by it: whatever it still does or throws
// afterwards has no reader.

/**
 * The outcome of `work`, or `late()` thrown when it takes longer.
 * @param milliseconds at most 2^31 - 1
 */
export async function withDeadline<T>(work: Promise<T>, milliseconds: number, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(late()), milliseconds);
  });
  try {
    return await Promise.race([work, deadline]);
  } finally {
    clearTimeout(timer);
    work.catch(() => undefined);
  }
}
