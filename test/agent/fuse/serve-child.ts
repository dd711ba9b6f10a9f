// An agent in miniature for the tests: serves the mount on descriptors 3 (fuse), 4 and 5 (state) and obeys JSON lines on stdin. The harness bundles
// it into one CommonJS file, as the program is, so that the serving thread starts from the same file as in production.

import { existsSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { isMainThread } from 'node:worker_threads';
import { SecretFilesystem, type ContainerTree, type ContainerUpdate } from '../../../src/agent/fuse/filesystem.ts';
import { runFuseWorker } from '../../../src/agent/fuse/worker.ts';

type Wire<T> = { [K in keyof T]: K extends 'content' ? string : T[K] extends readonly (infer U)[] ? Wire<U>[] : T[K] };
export type ChildCommand =
  | { op: 'add'; tree: Wire<ContainerTree> } | { op: 'replace'; updates: Wire<ContainerUpdate>[] } | { op: 'remove'; id: string }
  | { op: 'containers' } | { op: 'detach' } | { op: 'memory' } | { op: 'busy'; file: string } | { op: 'exit' };

function say(line: unknown): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function withContents<T extends { readonly content: string }>(files: readonly T[]): (Omit<T, 'content'> & { content: Buffer })[] {
  return files.map((file) => ({ ...file, content: Buffer.from(file.content, 'base64') }));
}

async function obey(fs: SecretFilesystem, command: ChildCommand): Promise<unknown> {
  switch (command.op) {
    case 'add': return fs.add({ ...command.tree, files: withContents(command.tree.files) });
    case 'replace': return fs.replace(command.updates.map((update) => ({ ...update, files: withContents(update.files) })));
    case 'remove': return fs.remove(command.id);
    case 'containers': return fs.containers();
    case 'memory': return process.memoryUsage.rss();
    case 'detach': return fs.detach();
    case 'exit': process.exit(0);
    case 'busy': // keeps this thread from everything else, from when the file is gone until it is there again
      rmSync(command.file);
      for (const end = Date.now() + 60_000; !existsSync(command.file) && Date.now() < end;);
  }
  return undefined;
}

async function main(): Promise<void> {
  const fs = await SecretFilesystem.attach({
    fuseFd: 3, stateFds: [4, 5], mountPoint: process.argv[2]!,
    onEvent: (event) => say({ event }), log: { warn: (message) => say({ warn: message }) },
  });
  say({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    const { sequence, ...command } = JSON.parse(line) as ChildCommand & { sequence: number };
    try {
      say({ sequence, result: await obey(fs, command) ?? null });
    } catch (error) {
      say({ sequence, error: (error as { code?: string }).code ?? String(error) });
    }
    if (command.op === 'detach') process.exit(0); // would hang if the serving thread were still in read(2)
  }
  process.exit(1); // the test process is gone
}

if (isMainThread) {
  void main().catch((error: unknown) => {
    say({ failed: (error as { code?: string }).code ?? String(error) });
    process.exitCode = 1;
  });
} else runFuseWorker();
