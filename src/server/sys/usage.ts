// `sys/usage` (PROTOCOL.md 1.7): each question is a path of its own, so that a policy can allow one and not another; what is about
// one secret, container, node or service also has a path that names it.

import type { JsonObject, LogicalRequest, LogicalResponse } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import type { Usage } from '../usage/usage.ts';
import type { SysHandler, SysRoute } from './sys-engine.ts';

/** Of one secret, container, node or service; each is the question of the same name. */
const VIEWS = ['holdings', 'history', 'processes', 'denied', 'stale'] as const;

type Question = (query: JsonObject) => Promise<JsonObject>;

export function usageRoutes(usage: Usage): SysRoute[] {
  const questions: Readonly<Record<string, Question>> = {
    'usage': (query) => usage.holdings(query),
    'usage/history': (query) => usage.history(query),
    'usage/activity': (query) => usage.activity(query),
    'usage/denied': (query) => usage.denied(query),
    'usage/processes': (query) => usage.processes(query),
    'usage/unused': (query) => usage.unused(query),
    'usage/stale': (query) => usage.stale(query),
    'usage/roles': (query) => usage.roles(query),
    'usage/rotations': () => usage.rotationsUnderWay(),
    'usage/matrix': () => usage.matrix(),
    'usage/overview': () => usage.overview(),
    // Authorised and audited like any read; the stream begins behind it (open-core.ts).
    'usage/events': async () => ({}),
  };
  const about = (['secret', 'container', 'node', 'service'] as const).map((subject): SysRoute => route(`usage/${subject}/*`, (request, name) => view(usage, subject, name, request)));
  return [...Object.entries(questions).map(([path, ask]) => route(path, async ({ data }) => answer(await ask(data)))), ...about];
}

function route(path: string, read: SysHandler): SysRoute {
  return { path, operations: { read } };
}

async function view(usage: Usage, subject: 'secret' | 'container' | 'node' | 'service', name: string, { data: { view: wanted = 'holdings', ...query } }: LogicalRequest): Promise<LogicalResponse | undefined> {
  if (wanted === 'rotation' && subject === 'secret') {
    const rotation = await usage.rotation(name);
    return rotation && answer(rotation);
  }
  if (VIEWS.some((known) => known === wanted)) return answer(await usage[wanted as (typeof VIEWS)[number]]({ ...query, [subject]: name }));
  throw new PurserError('ERR_REQUEST_INVALID', 'there is no such view', { hint: 'view is holdings, history, processes, denied or stale; of a secret also rotation' });
}

/** The audit log keeps the question, and of each list in the answer its length: ten thousand rows are no secret, and their hashes would be 15 MB of log. */
function answer(data: JsonObject): LogicalResponse {
  return { data, auditData: Object.fromEntries(Object.entries(data).map(([name, value]) => [name, Array.isArray(value) ? value.length : value])) };
}
