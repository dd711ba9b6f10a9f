// Builds dist/purser (one bundled CommonJS file with a shebang), dist/ui (the web page) and dist/purser-runtime (the static C shim).
// lmdb stays outside the bundle: it carries a native addon, and only `purser server` loads it.
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { basename, join } from 'node:path';
import { build } from 'esbuild';

const root = join(fileURLToPath(import.meta.url), '..', '..');
const dist = join(root, 'dist');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
mkdirSync(dist, { recursive: true });

// A module's source is read, kept and compiled by every process (and by the agent's thread once more), so what Purser never
// calls stays out: dockerode's ways to other machines and image builds, body-parser's double-byte charsets (JSON is UTF-8),
// and zod's messages in languages other than English.
const LEFT_OUT = /^(?:ssh2|@grpc\/grpc-js|@grpc\/proto-loader|protobufjs|tar-fs|@balena\/dockerignore)$/;
const leaveOut = {
  name: 'leave-out',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: LEFT_OUT }, ({ path }) => ({ path, namespace: 'left-out' }));
    onResolve({ filter: /^\.\/tables\/.*\.json$/ }, ({ path, importer }) => (/iconv-lite\/encodings\//.test(importer) ? { path, namespace: 'left-out' } : undefined));
    onLoad({ filter: /.*/, namespace: 'left-out' }, () => ({ contents: 'module.exports = {};' }));
    onLoad({ filter: /zod\/v4\/locales\/index\.js$/ }, () => ({ contents: 'export { default as en } from "./en.js";', resolveDir: join(root, 'node_modules/zod/v4/locales') }));
  },
};

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
  external: ['lmdb', '*.node'],
  plugins: [leaveOut],
  // Not the names: they are what a stack trace in a log is read by.
  minifyWhitespace: true,
  minifySyntax: true,
  lineLimit: 160,
  legalComments: 'none',
  logLevel: 'warning',
});
chmodSync(join(dist, '.purser.new'), 0o755);
// A rename: whoever runs the command meanwhile gets the old file or the new one, whole.
renameSync(join(dist, '.purser.new'), join(dist, 'purser'));
// The repository is an ES module package; the bundle is CommonJS.
writeFileSync(join(dist, 'package.json'), '{"type":"commonjs"}\n');

// The page: one script and one style sheet whose names change with their content, so that browsers may keep them for ever.
const ui = join(dist, 'ui');
rmSync(ui, { recursive: true, force: true });
const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: ['src/web/main.tsx', 'src/web/style.css'],
  entryNames: '[name]-[hash]',
  outdir: 'dist/ui',
  bundle: true,
  platform: 'browser',
  target: ['es2022'],
  format: 'esm',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  tsconfig: 'src/web/tsconfig.json',
  minify: true,
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
});
const built = Object.keys(metafile.outputs).map((path) => basename(path));
const page = readFileSync(join(root, 'src/web/index.html'), 'utf8').replace('main.js', built.find((name) => name.endsWith('.js'))).replace('style.css', built.find((name) => name.endsWith('.css')));
writeFileSync(join(ui, 'index.html'), page);

execFileSync('make', ['-s', '-C', join(root, 'src', 'shim'), `OUT=${join(dist, 'purser-runtime')}`, `VERSION=${version}`], { stdio: 'inherit' });
