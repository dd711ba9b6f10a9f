// Run by file-device.test.ts inside a private mount namespace: fills a tiny file system with audit entries, then makes space.
// usage: full-disk.ts DIRECTORY; prints what happened as JSON.

import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { FileAuditDevice } from '../../src/audit/file-device.ts';
import { isPurserError } from '../../src/lib/errors.ts';
import { MemoryView } from '../fakes/memory-view.ts';
import { sampleEntry } from './sample.ts';

const directory = process.argv[2] as string;
const path = join(directory, 'audit.log');
const ballast = join(directory, 'ballast');
writeFileSync(ballast, Buffer.alloc(24 * 1024));
const device = await FileAuditDevice.open({ path, directory, view: new MemoryView(), now: Date.now });

let accepted = 0;
let refusedCode: string | undefined;
while (refusedCode === undefined) {
  await device.log('request', sampleEntry()).then(() => { accepted++; }, (error: unknown) => { refusedCode = isPurserError(error) ? error.code : String(error); });
}
const sizeWhenFull = statSync(path).size;
await device.log('request', sampleEntry()).catch(() => undefined);
const whileFull = { size: statSync(path).size, isWhole: readFileSync(path, 'utf8').endsWith('}}\n') };
rmSync(ballast);
await device.log('request', sampleEntry());
const report = await device.verify();
const requests = readFileSync(path, 'utf8').match(/"type":"request"/g)?.length;
await device.close();
process.stdout.write(JSON.stringify({ accepted, refusedCode, sizeWhenFull, whileFull, afterwards: { problem: report.problem ?? null, torn: report.torn, requests } }));
