// Searching the audit log: who asked the core for what, with which outcome. Values in it are keyed hashes.

import type { JSX } from 'preact';
import { useRef, useState } from 'preact/hooks';
import { ApiError } from '../api.ts';
import { Problem, Time } from '../parts/show.tsx';
import { Table } from '../parts/table.tsx';
import { useApi } from '../session.ts';

interface AuditEntry {
  readonly time: string;
  readonly outcome: 'ok' | 'denied' | 'failed';
  readonly request?: { readonly id: string; readonly operation: string; readonly path: string; readonly remote_address?: string };
  readonly auth?: { readonly display_name?: string; readonly accessor?: string };
  readonly error?: string;
}
interface Page { readonly entries: readonly AuditEntry[]; readonly cursor: string }

const FIELDS = [['secret', 'Secret', 'secret/db/prod'], ['path', 'API path', 'auth/* or sys/policies/acl/app'], ['node', 'Node', 'node-1'], ['accessor', 'Token accessor', ''], ['trace', 'Trace id', 'of a line in an agent’s log'], ['since', 'Since', '24h or 2026-01-31T12:00:00Z'], ['until', 'Until', '']] as const;

export function Audit(): JSX.Element {
  const api = useApi();
  const form = useRef<HTMLFormElement>(null);
  const [found, setFound] = useState<Page>();
  const [error, setError] = useState<ApiError>();
  const [isBusy, setIsBusy] = useState(false);
  const search = async (before?: Page): Promise<void> => {
    const given = Object.fromEntries([...new FormData(form.current ?? undefined)].filter((entry): entry is [string, string] => typeof entry[1] === 'string' && entry[1].trim() !== ''));
    setIsBusy(true);
    try {
      const page = await api.read<Page>('sys/audit/log', { ...given, ...(before === undefined ? {} : { cursor: before.cursor }) });
      setFound({ entries: [...before?.entries ?? [], ...page.entries], cursor: page.cursor });
      setError(undefined);
    } catch (caught) {
      setError(caught instanceof ApiError ? caught : new ApiError(0, 'the search failed'));
    } finally {
      setIsBusy(false);
    }
  };
  return (
    <>
      <h1>Audit</h1>
      <section aria-label="search">
        <form ref={form} class="filters" onSubmit={(event) => { event.preventDefault(); void search(); }}>
          {FIELDS.map(([name, label, placeholder]) => <label key={name} class="field"><span>{label}</span><input name={name} placeholder={placeholder} spellcheck={false} autoComplete="off" /></label>)}
          <label class="field"><span>Outcome</span><select name="outcome"><option value="">any</option><option>ok</option><option>denied</option><option>failed</option></select></label>
          <button type="submit" class="primary" disabled={isBusy}>{isBusy ? 'searching…' : 'Search'}</button>
        </form>
      </section>
      <Problem error={error} />
      {found !== undefined && <section aria-label="entries">
        <Table label="audit entries" rows={found.entries} keyOf={({ time, request }) => `${time} ${request?.id ?? ''}`} empty="no entry fits"
          columns={[
            { name: 'time', value: ({ time }) => time, show: ({ time }) => <Time value={time} /> },
            { name: 'outcome', value: ({ outcome }) => outcome, show: ({ outcome, error: why }) => <span class={outcome === 'ok' ? 'tag good' : 'tag bad'} title={why}>{outcome}</span> },
            { name: 'operation', value: ({ request }) => request?.operation ?? '' },
            { name: 'path', value: ({ request }) => request?.path ?? '', show: ({ request }) => <code>{request?.path}</code> },
            { name: 'who', value: ({ auth }) => auth?.display_name ?? '' },
            { name: 'from', value: ({ request }) => request?.remote_address ?? '' },
          ]} />
        {found.cursor !== '' && <p><button type="button" disabled={isBusy} onClick={() => { void search(found); }}>Older entries</button></p>}
      </section>}
    </>
  );
}
