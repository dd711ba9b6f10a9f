// Signing in, in the ways an operator has: a token, a name with a password, or a signed identity (JWT).

import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError } from '../api.ts';
import { Problem } from '../parts/show.tsx';
import { signIn, type Credentials, type Session } from '../session.ts';

const METHODS = { token: 'Token', userpass: 'Name and password', jwt: 'JWT' } as const;

export function SignIn({ note, onDone }: { readonly note: string | undefined; readonly onDone: (session: Session) => void }): JSX.Element {
  const [method, setMethod] = useState<keyof typeof METHODS>('token');
  const [error, setError] = useState<ApiError>();
  const [isBusy, setIsBusy] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => { form.current?.querySelector('input:not([type=radio])')?.dispatchEvent(new Event('focus')); }, [method]);

  const submit = async (): Promise<void> => {
    if (form.current === null) return;
    const field = (name: string): string => { const value = new FormData(form.current ?? undefined).get(name); return typeof value === 'string' ? value : ''; };
    setIsBusy(true);
    setError(undefined);
    try {
      onDone(await signIn(credentialsOf(method, field)));
    } catch (caught) {
      setError(caught instanceof ApiError ? caught : new ApiError(0, 'signing in failed'));
    } finally {
      setIsBusy(false);
    }
  };

  return (
    <main class="sign-in">
      <h1><Mark /> Purser</h1>
      {note !== undefined && <p class="note" role="status">{note}</p>}
      <form ref={form} onSubmit={(event) => { event.preventDefault(); void submit(); }}>
        <fieldset class="choice">
          <legend class="hidden">Sign in with</legend>
          {(Object.keys(METHODS) as (keyof typeof METHODS)[]).map((name) => (
            <label key={name}><input type="radio" name="method" value={name} checked={method === name} onChange={() => { setMethod(name); }} /> {METHODS[name]}</label>))}
        </fieldset>
        {method === 'token' && <Field label="Token" name="token" type="password" />}
        {method === 'userpass' && <><Field label="Name" name="username" autoComplete="username" /><Field label="Password" name="password" type="password" autoComplete="current-password" /></>}
        {method === 'jwt' && <><Field label="Role" name="role" /><Field label="JWT" name="jwt" type="password" /></>}
        {method !== 'token' && <details><summary>Mount</summary><Field key={method} label="Mounted at" name="mount" value={method} /></details>}
        <Problem error={error} />
        <button type="submit" class="primary" disabled={isBusy}>{isBusy ? 'signing in…' : 'Sign in'}</button>
      </form>
      <p class="quiet">The token stays in this tab and is forgotten with it.</p>
    </main>
  );
}

function credentialsOf(method: keyof typeof METHODS, field: (name: string) => string): Credentials {
  if (method === 'token') return { method, token: field('token') };
  const mount = field('mount') || method;
  return method === 'userpass' ? { method, mount, username: field('username'), password: field('password') } : { method, mount, role: field('role'), jwt: field('jwt') };
}

interface FieldProps { readonly label: string; readonly name: string; readonly type?: 'password'; readonly value?: string; readonly autoComplete?: string }

function Field({ label, name, type, value, autoComplete = 'off' }: FieldProps): JSX.Element {
  const shared = { name, autoComplete, required: true, spellcheck: false, ...(value === undefined ? {} : { defaultValue: value }) } as const;
  return <label class="field"><span>{label}</span>{type === 'password' ? <input type="password" {...shared} /> : <input type="text" autoCapitalize="off" {...shared} />}</label>;
}

/** The mark: a key tag. */
export function Mark(): JSX.Element {
  return <svg class="mark" viewBox="0 0 24 24" aria-hidden="true"><circle cx="8" cy="12" r="5.2" fill="none" stroke="currentColor" stroke-width="2.4" /><path d="M13 12h9m-4 0v4m3.6-4v3" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round" /></svg>;
}
