// Loading and staying current: a view loads once, again at a pace while the tab is seen, and at once when a live event concerns it.

import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError } from './api.ts';
import { useLive } from './live.ts';

export interface Loaded<T> {
  /** The last good answer; stays while a later load fails. */
  readonly data: T | undefined;
  readonly error: ApiError | undefined;
  /** Loads again now. */
  readonly reload: () => void;
  /** Changes the answer by what is known meanwhile; nothing is changed before there is one. */
  readonly amend: (change: (data: T) => T) => void;
}

/** Between loads without an event, in milliseconds; events make it immediate. */
const PACE_MS = 10_000;

/**
 * @param load asks the core
 * @param key what `load` depends on, as text: a change starts over
 * @param concerns true for live events that change the answer; default: all
 */
export function useLoaded<T>(load: () => Promise<T>, key: string, concerns: (path: string | undefined) => boolean = () => true): Loaded<T> {
  const [state, setState] = useState<{ key: string; data: T | undefined; error: ApiError | undefined }>({ key, data: undefined, error: undefined });
  const latest = useRef({ load, concerns, run: () => undefined as void });
  latest.current.load = load;
  latest.current.concerns = concerns;
  useLive((path) => { if (latest.current.concerns(path)) latest.current.run(); });
  useEffect(() => {
    let isEnded = false, isRunning = false, isWanted = false;
    const run = (): void => {
      if (isRunning) { isWanted = true; return; }
      isRunning = true;
      latest.current.load().then(
        (data) => { if (!isEnded) setState({ key, data, error: undefined }); },
        (error: unknown) => { if (!isEnded) setState((before) => ({ key, data: before.key === key ? before.data : undefined, error: error instanceof ApiError ? error : new ApiError(0, 'the page failed') })); },
      ).finally(() => {
        isRunning = false;
        if (isWanted && !isEnded) { isWanted = false; run(); }
      });
    };
    latest.current.run = run;
    run();
    const timer = setInterval(() => { if (!document.hidden) run(); }, PACE_MS);
    return () => { isEnded = true; clearInterval(timer); };
  }, [key]);
  const isCurrent = state.key === key;
  return {
    data: isCurrent ? state.data : undefined, error: isCurrent ? state.error : undefined, reload: () => { latest.current.run(); },
    amend: (change) => { setState((before) => (before.key === key && before.data !== undefined ? { ...before, data: change(before.data) } : before)); },
  };
}
