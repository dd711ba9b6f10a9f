// An answer that walks all that is held, for pages that ask for it again and again: computed anew only so often that it takes a tenth of the time,
// and once for all who ask meanwhile. What takes no time to speak of is computed for each.

const SHARE = 10;
/** Below this it is not kept, in milliseconds. */
const QUICK_MS = 25;

/** @param now a monotonic clock in milliseconds */
export function rationed<T>(compute: () => Promise<T>, now: () => number = () => performance.now()): () => Promise<T> {
  let kept: { readonly answer: Promise<T>; until: number } | undefined;
  return () => {
    const began = now();
    if (kept !== undefined && began < kept.until) return kept.answer;
    const entry = { answer: compute(), until: Infinity };
    kept = entry;
    entry.answer.then(() => {
      const end = now();
      entry.until = end - began < QUICK_MS ? end : end + (end - began) * (SHARE - 1);
    }, () => { entry.until = now(); });
    return entry.answer;
  };
}
