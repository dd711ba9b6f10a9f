// Builds dist/purser (one bundled CommonJS file with a shebang) and dist/purser-runtime (the static C shim).
// lmdb stays outside the bundle: it carries a native addon, and only `purser server` loads it.
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(fileURLToPath(import.meta.url), '..', '..');
const dist = join(root, 'dist');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
mkdirSync(dist, { recursive: true });

await build({
  absWorkingDir: root,
  entryPoints: ['src/main.ts'],
  outfile: 'dist/.purser.new',
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  banner: { js: '#!/usr/bin/env node' },
  // esbuild leaves import.meta empty in CommonJS; sources that need their own path use __filename through this define.
  define: { PURSER_VERSION: JSON.stringify(version) },
  external: ['lmdb', 'cpu-features', '*.node'],
  legalComments: 'none',
  logLevel: 'warning',
});
chmodSync(join(dist, '.purser.new'), 0o755);
// A rename: whoever runs the command meanwhile gets the old file or the new one, whole.
renameSync(join(dist, '.purser.new'), join(dist, 'purser'));
// The repository is an ES module package; the bundle is CommonJS.
writeFileSync(join(dist, 'package.json'), '{"type":"commonjs"}\n');

execFileSync('make', ['-s', '-C', join(root, 'src', 'shim'), `OUT=${join(dist, 'purser-runtime')}`, `VERSION=${version}`], { stdio: 'inherit' });
