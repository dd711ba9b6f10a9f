// One stream of server-sent events for the whole page; views subscribe to it. Without it (a policy that does not allow it, an
// old core) views stay current by asking at their pace.

import { useEffect, useRef } from 'preact/hooks';
import type { Api } from './api.ts';
import { ApiError } from './api.ts';

/** Told the path of the secret that an event is about; undefined: it concerns no single secret. */
export type LiveListener = (path: string | undefined) => void;

const listeners = new Set<LiveListener>();
/** Events come in bursts; views are told at most this often, in milliseconds. */
const FOLD_MS = 150;
const RETRY_MS = 5_000;

/** Follows the core's events until the signal. */
export async function follow(api: Api, signal: AbortSignal): Promise<void> {
  const waiting = new Set<string | undefined>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tell = (path: string | undefined): void => {
    waiting.add(path);
    timer ??= setTimeout(() => {
      timer = undefined;
      const paths = [...waiting];
      waiting.clear();
      for (const listener of listeners) for (const each of paths) listener(each);
    }, FOLD_MS);
  };
  while (!signal.aborted) {
    try {
      await api.events('sys/usage/events', (_name, data) => { for (const path of pathsOf(data)) tell(path); }, signal);
    } catch (error) {
      if (error instanceof ApiError && [403, 404, 405].includes(error.status)) return;
    }
    await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
  }
}

/** Of a step of a rotation its secret, of a change of holdings all that changed; of a refusal none. */
function pathsOf(data: unknown): readonly (string | undefined)[] {
  if (typeof data !== 'object' || data === null) return [];
  if ('path' in data && typeof data.path === 'string') return [data.path];
  if ('secrets' in data && Array.isArray(data.secrets)) return data.secrets.filter((path) => typeof path === 'string');
  return [undefined];
}

export function useLive(listener: LiveListener): void {
  const current = useRef(listener);
  current.current = listener;
  useEffect(() => {
    const tell: LiveListener = (path) => { current.current(path); };
    listeners.add(tell);
    return () => { listeners.delete(tell); };
  }, []);
}
