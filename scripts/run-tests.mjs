// Runs Node's test runner over every *.test.ts below the folders given.
// usage: node scripts/run-tests.mjs DIR… [--not NAME]… [--concurrency N]   (NAME: a folder name to leave out)
import { readdirSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const folders = [];
const skipped = new Set();
let concurrency = '2';
for (let args = process.argv.slice(2); args.length > 0; args = args.slice(1)) {
  if (args[0] === '--not') skipped.add((args = args.slice(1))[0]);
  else if (args[0] === '--concurrency') concurrency = (args = args.slice(1))[0];
  else folders.push(args[0]);
}
const find = (path) => path.endsWith('.test.ts') ? [path] : readdirSync(path, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() && !skipped.has(entry.name) ? find(join(path, entry.name))
    : entry.name.endsWith('.test.ts') ? [join(path, entry.name)] : []);
const files = folders.flatMap(find).sort();
if (files.length === 0) { console.error(`no tests below ${folders.join(' ')}`); process.exit(1); }
const result = spawnSync(process.execPath, ['--import', 'tsx', '--test', `--test-concurrency=${concurrency}`, '--test-reporter=spec', ...files], { stdio: 'inherit' });
process.exit(result.status ?? 1);
