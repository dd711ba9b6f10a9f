// One stream of server-sent events for the whole page; views subscribe to it. Without it (a policy that does not allow it, an
// old core) views stay current by asking at their pace. A step of a rotation says all that a bar needs, so it is drawn at once.

import { useEffect, useRef } from 'preact/hooks';
import type { Api } from './api.ts';
import { ApiError } from './api.ts';
import type { Rotation } from './model.ts';

/** Told the path of the secret that an event is about; undefined: it concerns no single secret. */
export type LiveListener = (path: string | undefined) => void;

export type RotationListener = (rotation: Rotation) => void;

const listeners = new Set<LiveListener>();
const rotationListeners = new Set<RotationListener>();
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
      await api.events('sys/usage/events', (name, data) => {
        if (name === 'rotation') for (const listener of rotationListeners) listener(data as Rotation);
        else for (const path of pathsOf(data)) tell(path);
      }, signal);
    } catch (error) {
      if (error instanceof ApiError && [403, 404, 405].includes(error.status)) return;
    }
    await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
  }
}

/** Of a change of holdings all secrets that changed; of a refusal its secret, if it had one. */
function pathsOf(data: unknown): readonly (string | undefined)[] {
  if (typeof data !== 'object' || data === null) return [];
  if ('path' in data && typeof data.path === 'string') return [data.path];
  if ('secrets' in data && Array.isArray(data.secrets)) return data.secrets.filter((path) => typeof path === 'string');
  return [undefined];
}

/** Told what to load again. */
export function useLive(listener: LiveListener): void {
  useListener(listeners, listener);
}

/** Told each step of each rotation. */
export function useRotations(listener: RotationListener): void {
  useListener(rotationListeners, listener);
}

function useListener<A>(all: Set<(argument: A) => void>, listener: (argument: A) => void): void {
  const current = useRef(listener);
  current.current = listener;
  useEffect(() => {
    const tell = (argument: A): void => { current.current(argument); };
    all.add(tell);
    return () => { all.delete(tell); };
  }, []);
}
