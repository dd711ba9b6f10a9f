// Which view is shown: the part of the address after `#`, so that the server has one page only and Back works.

import { useEffect, useState } from 'preact/hooks';

export interface Location {
  /** Decoded segments: `#/secrets/secret/db%2Fprod` → ['secrets', 'secret', 'db/prod']. */
  readonly segments: readonly string[];
  readonly query: URLSearchParams;
}

/** A link to a view; every segment is encoded. */
export function linkTo(segments: readonly string[], query: Readonly<Record<string, string>> = {}): string {
  const text = new URLSearchParams(query).toString();
  return `#/${segments.map(encodeURIComponent).join('/')}${text === '' ? '' : `?${text}`}`;
}

export function navigate(link: string): void {
  window.location.hash = link;
}

function currentLocation(): Location {
  const [path = '', query = ''] = window.location.hash.replace(/^#\/?/, '').split('?', 2);
  return { segments: path.split('/').filter((part) => part !== '').map(decodeSegment), query: new URLSearchParams(query) };
}

function decodeSegment(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function useLocation(): Location {
  const [location, setLocation] = useState(currentLocation);
  useEffect(() => {
    const changed = (): void => { setLocation(currentLocation()); };
    window.addEventListener('hashchange', changed);
    return () => { window.removeEventListener('hashchange', changed); };
  }, []);
  return location;
}
