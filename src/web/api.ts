// The core's HTTP API as the page uses it: the same requests as any client, with the token of this tab. Nothing is cached.

/** What the core answered instead of a result. */
export class ApiError extends Error {
  readonly status: number;
  readonly hint: string | undefined;

  constructor(status: number, message: string, hint?: string) {
    super(message);
    this.status = status;
    this.hint = hint;
  }
}

type Query = Readonly<Record<string, string | number | boolean | undefined>>;
interface Envelope { readonly data?: unknown; readonly auth?: unknown; readonly warnings?: readonly string[] | null; readonly errors?: readonly string[]; readonly hint?: string }

/** `secret/db prod` → `secret/db%20prod`: every segment is encoded, slashes stay. */
export function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}

function urlOf(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter((entry): entry is [string, string | number | boolean] => entry[1] !== undefined && entry[1] !== '');
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return `/v1/${encodePath(path)}${text === '' ? '' : `?${text}`}`;
}

async function errorOf(response: Response): Promise<ApiError> {
  const body = await response.json().catch(() => ({})) as Envelope;
  const fallback = response.status === 404 ? 'there is nothing here' : response.status === 503 ? 'the core is sealed' : `the core answered ${String(response.status)}`;
  return new ApiError(response.status, body.errors?.[0] ?? fallback, body.hint);
}

export class Api {
  readonly #token: string | undefined;
  /** Called when the core no longer takes the token. */
  readonly #onRejected: () => void;

  constructor(token?: string, onRejected: () => void = () => undefined) {
    this.#token = token;
    this.#onRejected = onRejected;
  }

  /** The `data` of a read. @throws ApiError */
  async read<T>(path: string, query?: Query): Promise<T> {
    return (await this.#json('GET', urlOf(path, query))).data as T;
  }

  /** A body without envelope, such as sys/seal-status. @throws ApiError */
  async bare<T>(path: string): Promise<T> {
    return await this.#json('GET', urlOf(path)) as T;
  }

  /** The keys of a list; empty when there are none. @throws ApiError */
  async list(path: string): Promise<string[]> {
    try {
      const { data } = await this.#json('GET', urlOf(path, { list: true })) as { data?: { keys?: string[] } };
      return data?.keys ?? [];
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return [];
      throw error;
    }
  }

  /** The envelope's `data`, or `auth` where there is one. @throws ApiError */
  async write<T>(path: string, body: unknown, method: 'POST' | 'PATCH' | 'DELETE' = 'POST'): Promise<T> {
    const { data, auth } = await this.#json(method, urlOf(path), body);
    return (auth ?? data) as T;
  }

  /**
   * Server-sent events (HTML Standard, section 9.2), by fetch because EventSource cannot send a token. Ends with the signal or the connection.
   * @param onEvent the event's name and its data, parsed
   */
  async events(path: string, onEvent: (name: string, data: unknown) => void, signal: AbortSignal): Promise<void> {
    const response = await fetch(urlOf(path), { headers: { ...this.#headers(), Accept: 'text/event-stream' }, signal });
    if (!response.ok || response.body === null) throw await errorOf(response);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ''; ;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        dispatch(text.slice(0, end), onEvent);
        text = text.slice(end + 2);
      }
    }
  }

  #headers(): Record<string, string> {
    return this.#token === undefined ? {} : { 'X-Vault-Token': this.#token };
  }

  async #json(method: string, url: string, body?: unknown): Promise<Envelope> {
    const headers = this.#headers();
    if (body !== undefined) headers['Content-Type'] = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    const response = await fetch(url, { method, headers, cache: 'no-store', credentials: 'omit', redirect: 'error', ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
      .catch(() => { throw new ApiError(0, 'the core cannot be reached'); });
    if (response.status === 204) return {};
    if (response.ok) return await response.json() as Envelope;
    const error = await errorOf(response);
    if (error.status === 403 && this.#token !== undefined) void this.#checkToken();
    throw error;
  }

  /** A refusal may be the policy's or the end of the token: only the latter ends the session. */
  async #checkToken(): Promise<void> {
    const response = await fetch('/v1/auth/token/lookup-self', { headers: this.#headers(), cache: 'no-store' }).catch(() => undefined);
    if (response?.status === 403) this.#onRejected();
  }
}

function dispatch(block: string, onEvent: (name: string, data: unknown) => void): void {
  let name = 'message';
  const data: string[] = [];
  for (const line of block.split('\n')) {
    if (line.startsWith('event:')) name = line.slice(6).trim();
    else if (line.startsWith('data:')) data.push(line.slice(5).trimStart());
  }
  if (data.length > 0) onEvent(name, JSON.parse(data.join('\n')));
}
