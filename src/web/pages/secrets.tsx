// Which secrets are in use, by how many, how far their last rotation came; and the folders of the kv engines to find others.

import type { JSX } from 'preact';
import { browse, kvMounts } from '../kv.ts';
import { secretsInUse, type Cell } from '../model.ts';
import { Empty, Loading, Problem, SecretLink, Time } from '../parts/show.tsx';
import { Table } from '../parts/table.tsx';
import { linkTo, navigate } from '../router.ts';
import { useApi } from '../session.ts';
import { useLoaded } from '../use-loaded.ts';

interface Unused { readonly secret: string; readonly last_used_time: string | null }

export function Secrets({ folder }: { readonly folder: string }): JSX.Element {
  const api = useApi();
  const usage = useLoaded(() => api.read<{ cells: readonly Cell[] }>('sys/usage/matrix'), 'matrix');
  const unused = useLoaded(() => api.read<{ secrets: readonly Unused[] }>('sys/usage/unused', { since: '30d' }), 'unused', () => false);
  return (
    <>
      <h1>Secrets</h1>
      <section aria-labelledby="in-use"><h2 id="in-use">In use</h2>
        <Problem error={usage.error} />
        {usage.data === undefined ? usage.error === undefined && <Loading /> : <Table label="secrets in use" rows={secretsInUse(usage.data.cells)} keyOf={({ path }) => path} empty="no container uses a secret now"
          columns={[
            { name: 'secret', value: ({ path }) => path, show: ({ path }) => <SecretLink path={path} /> },
            { name: 'versions held', value: ({ versions }) => versions.at(-1) ?? 0, isNumber: true, show: ({ versions }) => (versions.length === 1 ? versions[0] : <span class="tag warn">{versions.join(', ')}</span>) },
            { name: 'containers', value: ({ containers }) => containers, isNumber: true },
            { name: 'services', value: ({ holders }) => holders.join(' '), show: ({ holders }) => (holders.length > 4 ? `${holders.slice(0, 4).join(' ')} and ${String(holders.length - 4)} more` : holders.join(' ')) },
            { name: 'last read', value: ({ lastOpened }) => lastOpened ?? '', show: ({ lastOpened }) => <Time value={lastOpened} /> },
          ]} />}
      </section>
      <Browser folder={folder} />
      {unused.data !== undefined && <section aria-labelledby="unused"><h2 id="unused">Not used by any container for 30 days</h2>
        <Table label="unused secrets" rows={unused.data.secrets} keyOf={({ secret }) => secret} empty="every secret is used by a container"
          columns={[{ name: 'secret', value: ({ secret }) => secret, show: ({ secret }) => <SecretLink path={secret} /> }, { name: 'last used', value: ({ last_used_time: time }) => time ?? '', show: ({ last_used_time: time }) => <Time value={time} /> }]} />
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
