// A Swarm service that does not get its secrets, which `docker service ps` does not explain: Docker throws a driver's reason away. Asked on a manager;
// what the core refused it says itself.

import { join } from 'node:path';

import type { CoreClient } from '../../client/core-client.ts';
import { CoreResponseError } from '../../client/response.ts';
import { isListening } from '../../lib/unix-socket.ts';
import { messageOf } from '../../lib/errors.ts';
import { parseReference } from '../../wire/reference.ts';
import type { ServiceDiagnosis, SwarmInsight } from '../context.ts';
import { fail, ok, skip, warn, type Check, type Finding } from './finding.ts';

const REFERENCE_LABEL = 'purser.ref';
const DRIVER = 'purser';
const LEGACY_SOCKETS = '/run/docker/plugins';

export interface ServiceCheckOptions {
  readonly service: string;
  readonly swarm: SwarmInsight;
  readonly client: CoreClient;
}

type Secret = ServiceDiagnosis['secrets'][number];
type Said = Omit<Finding, 'check'>;

export function serviceChecks({ service, swarm, client }: ServiceCheckOptions): Check[] {
  let found: ServiceDiagnosis | undefined;
  let secrets: readonly Secret[] = [];
  const known = (check: (found: ServiceDiagnosis) => Said | Promise<Said>) => async () => (found === undefined ? skip('see service') : check(found));
  return [
    {
      name: 'service', run: async () => {
        found = await swarm.diagnosis(service);
        if (found === undefined) return fail(`there is no service ${service}`, 'docker service ls, on a manager');
        secrets = found.secrets.filter(({ driver, labels }) => driver === DRIVER || (driver !== undefined && REFERENCE_LABEL in labels));
        return secrets.length === 0 ? warn(`${service} has no secret of Purser`, `docker secret create -d ${DRIVER} -l ${REFERENCE_LABEL}=purser://… NAME`) : ok(`secrets of Purser: ${secrets.map(({ name }) => name).join(', ')}`);
      },
    },
    { name: 'secret labels', run: known(() => checkLabels(secrets)) },
    { name: 'secret driver', run: known(() => checkDrivers(secrets, swarm)) },
    {
      name: 'tasks', run: known(({ running, desired, lastError }) => (running >= desired ? ok(`${String(running)} of ${String(desired)} run`)
        : fail(`${String(running)} of ${String(desired)} run${lastError === undefined ? '' : `; the last one failed: ${lastError}`}`, `docker service ps --no-trunc ${service}`))),
    },
    { name: 'refusals', run: known(() => checkRefusals(client, service)) },
  ];
}

function checkLabels(secrets: readonly Secret[]): Said {
  const wrong = secrets.flatMap(({ name, labels }) => {
    const reference = labels[REFERENCE_LABEL];
    if (reference === undefined) return [`${name} has no label ${REFERENCE_LABEL}`];
    try {
      parseReference(reference);
      return [];
    } catch (error) {
      return [`${name}: ${messageOf(error)}`];
    }
  });
  if (wrong.length > 0) return fail(wrong.join('; '), `docker secret create -d ${DRIVER} -l ${REFERENCE_LABEL}=purser://secret/db/prod#password NEW, then docker service update --secret-rm OLD --secret-add source=NEW,target=OLD`);
  return secrets.length === 0 ? skip('there is no secret') : ok('every reference is well formed');
}

async function checkDrivers(secrets: readonly Secret[], swarm: SwarmInsight): Promise<Said> {
  const drivers = [...new Set(secrets.flatMap(({ driver }) => driver ?? []))];
  for (const driver of drivers) {
    if (await swarm.hasPlugin(driver) || await isListening(join(LEGACY_SOCKETS, `${driver}.sock`))) continue;
    return fail(`the driver ${driver} does not run on this manager`, `docker plugin enable ${driver}, or systemctl start purser-driver, on every manager`);
  }
  return drivers.length === 0 ? skip('there is no secret') : ok(`${drivers.join(', ')} runs on this manager`);
}

async function checkRefusals(client: CoreClient, service: string): Promise<Said> {
  if (!client.hasToken) return skip('there is no token to ask with');
  try {
    const { entries: [last] } = await client.read('sys/usage/denied', { service, since: '24h', limit: 1 }) as unknown as { entries: { time: string; reason?: string; secret?: string }[] };
    return last === undefined ? ok('none within a day') : warn(`${last.time}: ${last.secret === undefined ? '' : `${last.secret}: `}${last.reason ?? 'refused'}`, `purser usage --service ${service} --denied`);
  } catch (error) {
    if (error instanceof CoreResponseError && error.status === 403) return skip('the token may not see refusals');
    throw error;
  }
}
