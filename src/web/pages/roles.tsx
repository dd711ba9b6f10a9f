// Workload roles that grant more than their containers used: candidates for a tighter policy, ready to copy.

import type { JSX } from 'preact';
import { Empty, Loading, Problem, SecretLink } from '../parts/show.tsx';
import { useApi } from '../session.ts';
import { useLoaded } from '../use-loaded.ts';

interface RoleUse { readonly role: string; readonly policies: readonly string[]; readonly used: readonly string[]; readonly unused: readonly string[]; readonly unused_count: number; readonly suggested_policy: string }

const MOST_SHOWN = 20;

export function Roles(): JSX.Element {
  const api = useApi();
  const roles = useLoaded(() => api.read<{ roles: readonly RoleUse[] }>('sys/usage/roles'), 'roles', () => false);
  return (
    <>
      <h1>Roles</h1>
      <p class="quiet">Workload roles whose policies allow more than their containers used in the last 30 days.</p>
      <Problem error={roles.error} />
      {roles.data === undefined ? roles.error === undefined && <Loading /> : roles.data.roles.length === 0 && <Empty>every role grants what is used, and no more</Empty>}
      {roles.data?.roles.map(({ role, policies, used, unused, unused_count: count, suggested_policy: policy }) => (
        <section key={role} aria-label={`role ${role}`}>
          <h2>{role} <span class="quiet">policies {policies.join(', ')}</span></h2>
          <p>{used.length} used, <strong>{count}</strong> allowed and not used: {unused.slice(0, MOST_SHOWN).map((path) => <> <SecretLink key={path} path={path} /></>)}{count > MOST_SHOWN && ` and ${String(count - MOST_SHOWN)} more`}</p>
          <details><summary>a tighter policy</summary><pre tabIndex={0}>{policy}</pre></details>
        </section>))}
    </>
  );
}
