// The two places of the page where values pass: writing new ones without reading, and showing old ones because the user asked.

import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiError } from '../api.ts';
import { change, fieldNames, reveal } from '../kv.ts';
import { Problem } from '../parts/show.tsx';
import { useApi } from '../session.ts';

/** Shown values are taken off the screen after this long, in milliseconds. */
const SHOWN_MS = 30_000;
const ALPHABET = 'ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789';
const GENERATED_LENGTH = 32;

interface Row { readonly id: number; readonly name: string; readonly value: string }

let nextRow = 1;
const emptyRow = (name = ''): Row => ({ id: nextRow++, name, value: '' });

/** @param current the version that the user saw; the write is refused if it is no longer the newest */
export function NewValue({ path, current, onWritten }: { readonly path: string; readonly current: number | undefined; readonly onWritten: () => void }): JSX.Element {
  const api = useApi();
  const [rows, setRows] = useState<readonly Row[]>(() => [emptyRow()]);
  const [keepOthers, setKeepOthers] = useState(false);
  const [state, setState] = useState<{ error?: ApiError; note?: string; isBusy?: boolean }>({});
  useEffect(() => {
    let isEnded = false;
    setState({});
    void fieldNames(api, path).then((names) => { if (!isEnded) setRows(names.length === 0 ? [emptyRow()] : names.map(emptyRow)); });
    return () => { isEnded = true; };
  }, [path]);

  const set = (id: number, part: Partial<Row>): void => { setRows((before) => before.map((row) => (row.id === id ? { ...row, ...part } : row))); };
  const submit = async (): Promise<void> => {
    const filled = rows.filter(({ name, value }) => name !== '' && (value !== '' || !keepOthers));
    if (filled.length === 0) { setState({ error: new ApiError(0, 'give at least one field a value') }); return; }
    if (new Set(filled.map(({ name }) => name)).size < filled.length) { setState({ error: new ApiError(0, 'two fields have the same name') }); return; }
    setState({ isBusy: true });
    try {
      const version = await change(api, path, { fields: Object.fromEntries(filled.map(({ name, value }) => [name, value])), keepOthers, cas: current });
      setRows((before) => before.map((row) => ({ ...row, value: '' })));
      setState({ note: version === undefined ? 'written' : `wrote version ${String(version)}` });
      onWritten();
    } catch (error) {
      setState({ error: error instanceof ApiError ? error : new ApiError(0, 'writing failed') });
    }
  };
  return (
    <form class="new-value" autoComplete="off" onSubmit={(event) => { event.preventDefault(); void submit(); }}>
      {rows.map(({ id, name, value }, index) => (
        <div class="row" key={id}>
          <label class="field"><span>Field</span><input value={name} spellcheck={false} autoComplete="off" onInput={(event) => { set(id, { name: event.currentTarget.value }); }} /></label>
          <label class="field wide"><span>New value</span><input type="password" value={value} autoComplete="new-password" onInput={(event) => { set(id, { value: event.currentTarget.value }); }} /></label>
          <button type="button" onClick={() => { set(id, { value: generated() }); }} aria-label={`generate a value for ${name || 'this field'}`}>Generate</button>
          {rows.length > 1 && <button type="button" onClick={() => { setRows((before) => before.filter((row) => row.id !== id)); }} aria-label={`remove field ${name || String(index + 1)}`}>✕</button>}
        </div>))}
      <p><button type="button" onClick={() => { setRows((before) => [...before, emptyRow()]); }}>Add a field</button></p>
      <label class="check"><input type="checkbox" checked={keepOthers} onChange={(event) => { setKeepOthers(event.currentTarget.checked); }} /> keep the fields that are not filled in here (needs the patch capability)</label>
      <Problem error={state.error} />
      {state.note !== undefined && <p class="note good" role="status">{state.note}</p>}
      <button type="submit" class="primary" disabled={state.isBusy === true}>Write {keepOthers ? 'these fields' : 'all fields'}</button>
    </form>
  );
}

/** Uniform over the alphabet: bytes past its last whole multiple are thrown away. */
function generated(): string {
  let text = '';
  while (text.length < GENERATED_LENGTH) {
    for (const byte of crypto.getRandomValues(new Uint8Array(64))) if (byte < 256 - (256 % ALPHABET.length)) text += ALPHABET.charAt(byte % ALPHABET.length);
  }
  return text.slice(0, GENERATED_LENGTH);
}

export function Reveal({ path }: { readonly path: string }): JSX.Element {
  const api = useApi();
  const [state, setState] = useState<{ data?: Readonly<Record<string, unknown>>; error?: ApiError }>({});
  useEffect(() => { setState({}); }, [path]);
  useEffect(() => {
    if (state.data === undefined) return undefined;
    const timer = setTimeout(() => { setState({}); }, SHOWN_MS);
    return () => { clearTimeout(timer); };
  }, [state.data]);
  const show = (): void => { reveal(api, path).then((data) => { setState({ data }); }, (error: unknown) => { setState({ error: error instanceof ApiError ? error : new ApiError(0, 'reading failed') }); }); };
  if (state.data === undefined) return <><Problem error={state.error} /><p><button type="button" onClick={show}>Show the current value</button> <span class="quiet">this is a read, and goes to the audit log</span></p></>;
  return (
    <div class="revealed">
      <dl class="metadata">{Object.entries(state.data).map(([name, value]) => <div key={name}><dt>{name}</dt><dd><code>{typeof value === 'string' ? value : JSON.stringify(value)}</code></dd></div>)}</dl>
      <button type="button" onClick={() => { setState({}); }}>Hide</button>
    </div>
  );
}
