// The frame: sign-in or the views, the way between them, light or dark.

import type { JSX } from 'preact';
import { useEffect, useMemo, useState } from 'preact/hooks';
import { Api } from './api.ts';
import { follow } from './live.ts';
import { Audit } from './pages/audit.tsx';
import { Container, Containers } from './pages/container.tsx';
import { MatrixView } from './pages/matrix.tsx';
import { Node, Nodes } from './pages/nodes.tsx';
import { Overview } from './pages/overview.tsx';
import { Roles } from './pages/roles.tsx';
import { Secret } from './pages/secret.tsx';
import { Secrets } from './pages/secrets.tsx';
import { Mark, SignIn } from './pages/sign-in.tsx';
import { linkTo, useLocation, type Location } from './router.ts';
import { ApiProvider, signOut, storedSession, storeSession, type Session } from './session.ts';
import { nextTheme, storedTheme, useTheme } from './theme.ts';

const VIEWS = [['', 'Overview'], ['secrets', 'Secrets'], ['containers', 'Containers'], ['nodes', 'Nodes'], ['matrix', 'Matrix'], ['roles', 'Roles'], ['audit', 'Audit']] as const;

export function App(): JSX.Element {
  const [session, setSession] = useState(storedSession);
  const [note, setNote] = useState<string>();
  const begin = (next: Session): void => { storeSession(next); setNote(undefined); setSession(next); };
  const end = (why?: string): void => { storeSession(undefined); setNote(why); setSession(undefined); };
  if (session === undefined) return <SignIn note={note} onDone={begin} />;
  return <SignedIn session={session} onEnd={end} />;
}

function SignedIn({ session, onEnd }: { readonly session: Session; readonly onEnd: (why?: string) => void }): JSX.Element {
  const api = useMemo(() => new Api(session.token, () => { onEnd('Your token has ended: sign in again.'); }), [session.token]);
  const location = useLocation();
  const [theme, setTheme] = useState(storedTheme);
  useTheme(theme);
  useEffect(() => {
    const ended = new AbortController();
    void follow(api, ended.signal);
    return () => { ended.abort(); };
  }, [api]);
  useEffect(() => { document.querySelector<HTMLElement>('main')?.focus(); window.scrollTo(0, 0); }, [location]);
  const [view = ''] = location.segments;
  return (
    <ApiProvider value={api}>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.querySelector<HTMLElement>('main')?.focus(); }}>skip to the content</a>
      <header>
        <a class="brand" href={linkTo([])}><Mark /> Purser</a>
        <nav aria-label="views">{VIEWS.map(([name, label]) => <a key={name} href={linkTo(name === '' ? [] : [name])} aria-current={view === name ? 'page' : undefined}>{label}</a>)}</nav>
        <div class="who"><span class="quiet">{session.name}</span>
          <button type="button" onClick={() => { setTheme(nextTheme(theme)); }}>{theme === 'auto' ? 'Auto' : theme === 'dark' ? 'Dark' : 'Light'}<span class="hidden"> colours</span></button>
          <button type="button" onClick={() => { void signOut(session).then(() => { onEnd(); }); }}>Sign out</button></div>
      </header>
      <main tabIndex={-1}><View location={location} /></main>
    </ApiProvider>
  );
}

function View({ location: { segments: [view = '', name], query } }: { readonly location: Location }): JSX.Element {
  switch (view) {
    case '': return <Overview />;
    case 'secrets': return name === undefined ? <Secrets folder={query.get('in') ?? ''} /> : <Secret key={name} path={name} />;
    case 'containers': return name === undefined ? <Containers /> : <Container id={name} />;
    case 'nodes': return name === undefined ? <Nodes /> : <Node name={name} />;
    case 'matrix': return <MatrixView />;
    case 'roles': return <Roles />;
    case 'audit': return <Audit />;
    default: return <><h1>Not found</h1><p>There is no such view. <a href={linkTo([])}>Back to the overview</a></p></>;
  }
}
