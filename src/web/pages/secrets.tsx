// Which secrets are in use, by how many, how far their last rotation came; and the folders of the kv engines to find others.

import type { JSX } from 'preact';
import { browse, kvMounts } from '../kv.ts';
import { secretsInUse, type Usage } from '../model.ts';
import { Empty, Loading, Problem, Progress, SecretLink } from '../parts/show.tsx';
import { Table } from '../parts/table.tsx';
import { linkTo, navigate } from '../router.ts';
import { useApi } from '../session.ts';
import { useLoaded } from '../use-loaded.ts';

export function Secrets({ folder }: { readonly folder: string }): JSX.Element {
  const api = useApi();
  const usage = useLoaded(() => api.read<Usage>('sys/usage'), 'usage');
  const unused = useLoaded(() => api.read<{ unused: string[] }>('sys/usage', { unused: true }), 'unused');
  return (
    <>
      <h1>Secrets</h1>
      <section aria-labelledby="in-use"><h2 id="in-use">In use</h2>
        <Problem error={usage.error} />
        {usage.data === undefined ? usage.error === undefined && <Loading /> : <Table label="secrets in use" rows={secretsInUse(usage.data.holdings)} keyOf={({ path }) => path} empty="no container uses a secret now"
          columns={[
            { name: 'secret', value: ({ path }) => path, show: ({ path }) => <SecretLink path={path} /> },
            { name: 'version', value: ({ newest }) => newest, isNumber: true },
            { name: 'containers', value: ({ containers }) => containers, isNumber: true },
            { name: 'services', value: ({ services }) => services.join(' ') },
            { name: 'on the newest version', value: ({ onNewest, containers }) => onNewest / containers, show: ({ path, onNewest, containers }) => <Progress label={`containers of ${path} on the newest version`} done={onNewest} all={containers} /> },
          ]} />}
      </section>
      <Browser folder={folder} />
      {unused.data !== undefined && <section aria-labelledby="unused"><h2 id="unused">Not used by any container</h2>
        <Table label="unused secrets" rows={unused.data.unused} keyOf={(path) => path} empty="every secret is used by a container" columns={[{ name: 'secret', value: (path) => path, show: (path) => <SecretLink path={path} /> }]} />
      </section>}
    </>
  );
}

/** Folders of the kv engines, as far as the policy lets one look. */
function Browser({ folder }: { readonly folder: string }): JSX.Element {
  const api = useApi();
  const names = useLoaded(() => (folder === '' ? kvMounts(api) : browse(api, folder)), `folder ${folder}`, () => false);
  const parts = folder.split('/').filter((part) => part !== '');
  return (
    <section aria-labelledby="browse"><h2 id="browse">Browse</h2>
      <nav class="crumbs" aria-label="folder"><a href={linkTo(['secrets'])}>all</a>{parts.map((part, index) => <> / <a key={part} href={linkTo(['secrets'], { in: `${parts.slice(0, index + 1).join('/')}/` })}>{part}</a></>)}</nav>
      <Problem error={names.error} />
      {names.data?.length === 0 && <Empty>this folder is empty</Empty>}
      <ul class="folder">{names.data?.map((name) => <li key={name}>{name.endsWith('/') ? <a href={linkTo(['secrets'], { in: folder + name })}>{name}</a> : <SecretLink path={folder + name} />}</li>)}</ul>
      <form class="inline" onSubmit={(event) => {
        event.preventDefault();
        const path = new FormData(event.currentTarget).get('path');
        if (typeof path === 'string' && path !== '') navigate(linkTo(['secrets', path.replace(/^\/+|\/+$/g, '')]));
      }}>
        <label class="field"><span>Go to, or make, a secret</span><input name="path" placeholder="secret/db/prod" spellcheck={false} autoComplete="off" /></label><button type="submit">Open</button>
      </form>
    </section>
  );
}
