// Who is signed in: the token lives in this tab only (sessionStorage), and ends at sign-out, at the tab's end or at the core's word.

import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import { Api, ApiError } from './api.ts';

const KEY = 'purser-session';

/** What the page keeps of a sign-in. */
export interface Session {
  readonly token: string;
  readonly name: string;
  /** The token was made by this sign-in, so signing out revokes it. */
  readonly isOwn: boolean;
}

interface SelfData { readonly display_name: string; readonly policies: readonly string[]; readonly ttl: number }
interface LoginAuth { readonly client_token: string; readonly metadata?: { readonly username?: string } | null }

export type Credentials =
  | { readonly method: 'token'; readonly token: string }
  | { readonly method: 'userpass'; readonly mount: string; readonly username: string; readonly password: string }
  | { readonly method: 'jwt'; readonly mount: string; readonly role: string; readonly jwt: string };

export function storedSession(): Session | undefined {
  try {
    const text = sessionStorage.getItem(KEY);
    return text === null ? undefined : JSON.parse(text) as Session;
  } catch {
    return undefined;
  }
}

export function storeSession(session: Session | undefined): void {
  if (session === undefined) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, JSON.stringify(session));
}

/** Signs in. @throws ApiError with a message that says what to mend */
export async function signIn(credentials: Credentials): Promise<Session> {
  const token = credentials.method === 'token' ? credentials.token.trim() : await login(credentials);
  try {
    const self = await new Api(token).read<SelfData>('auth/token/lookup-self');
    return { token, name: self.display_name, isOwn: credentials.method !== 'token' };
  } catch (error) {
    throw error instanceof ApiError && error.status === 403 ? new ApiError(403, 'the core does not know this token, or it has ended') : error;
  }
}

async function login(credentials: Exclude<Credentials, { method: 'token' }>): Promise<string> {
  const mount = credentials.mount.replace(/^\/+|\/+$/g, '');
  const auth = credentials.method === 'userpass'
    ? await new Api().write<LoginAuth>(`auth/${mount}/login/${credentials.username}`, { password: credentials.password })
    : await new Api().write<LoginAuth>(`auth/${mount}/login`, { role: credentials.role, jwt: credentials.jwt.trim() });
  return auth.client_token;
}

/** Ends the session; a token that this page made is revoked. */
export async function signOut({ token, isOwn }: Session): Promise<void> {
  storeSession(undefined);
  if (isOwn) await new Api(token).write('auth/token/revoke-self', {}).catch(() => undefined);
}

const ApiContext = createContext<Api>(new Api());
export const ApiProvider = ApiContext.Provider;

/** The API with the token of the session. */
export function useApi(): Api {
  return useContext(ApiContext);
}
