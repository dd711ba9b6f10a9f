// Who is asking: facts about the calling thread from /proc. The caller is blocked in its request, so its thread id cannot be reused while these run.
// The cgroup is read for every decision and never cached; a thread's process id is cached for half a second (it only feeds pins and the ledger).
// Anything that cannot be read is "unknown", which every caller of this file treats as refused.

import { closeSync, existsSync, openSync, readFileSync, readSync, readlinkSync } from 'node:fs';

/** cgroup v1 hierarchies whose path names the container, best first. */
const V1_HIERARCHIES = ['devices', 'memory', 'pids', 'name=systemd'];
const CACHE_MS = 500;
const CACHE_ENTRIES = 4096;

export interface ProcessName { readonly tgid: number; readonly name: string }

/** Questions about a thread id; undefined means it cannot be known. */
export interface Callers {
  /** True when the thread belongs to this very process or to the child that performs its gestures. */
  isOwn(tid: number): boolean;
  /** True when the thread runs in this cgroup or below it. */
  isInCgroup(tid: number, cgroupPath: string): boolean;
  /** True when the thread runs in the container of this id, for when its cgroup is not known beforehand. */
  isInContainer(tid: number, id: string): boolean;
  /** Process id and thread name. */
  process(tid: number): ProcessName | undefined;
  executable(tid: number): string;
  /** True when the thread waits in a system call that moves file data without read(2), or that cannot be known. */
  isSplicing(tid: number): boolean;
}

/** sendfile, splice, copy_file_range: arch/x86/entry/syscalls/syscall_64.tbl, and include/uapi/asm-generic/unistd.h for all others. */
const SPLICING: ReadonlySet<string> = new Set(process.arch === 'x64' ? ['40', '275', '326'] : ['71', '76', '285']);

const scratch = Buffer.alloc(65_536);

function readProc(path: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return undefined;
  }
  try {
    return scratch.toString('utf8', 0, readSync(fd, scratch, 0, scratch.length, 0));
  } catch {
    return undefined;
  } finally {
    closeSync(fd);
  }
}

/**
 * The `id:controllers:` head of the deciding line in a /proc/PID/cgroup file: v2's where /sys/fs/cgroup itself is one, as runc decides
 * (libcontainer/cgroups: IsCgroup2UnifiedMode), because such a host may have a hierarchy of v1 besides; else v1's if there is one.
 * @param mountinfo this process's, proc(5)
 */
export function decidingHierarchy(cgroupFile: string, mountinfo: string): string | undefined {
  if (/^(?:\S+ ){4}\/sys\/fs\/cgroup .* - cgroup2 /m.test(mountinfo) && /^0::/m.test(cgroupFile)) return '0::';
  const lines = cgroupFile.split('\n').map((line) => /^(\d+:([^:]*):)/.exec(line)).filter((match) => match !== null);
  for (const name of V1_HIERARCHIES) {
    const found = lines.find((match) => match[2]!.split(',').includes(name));
    if (found !== undefined) return found[1];
  }
  return lines.find((match) => match[1] === '0::')?.[1];
}

/** The path after `head` in a /proc/PID/cgroup file. */
export function cgroupPathIn(cgroupFile: string, head: string): string | undefined {
  const at = cgroupFile.startsWith(head) ? 0 : cgroupFile.indexOf(`\n${head}`) + 1;
  if (at === 0 && !cgroupFile.startsWith(head)) return undefined;
  const end = cgroupFile.indexOf('\n', at);
  return cgroupFile.slice(at + head.length, end === -1 ? undefined : end);
}

/** True when `path` is `container` or lies below it. */
export function isWithin(path: string, container: string): boolean {
  return path === container || (path.startsWith(container) && path[container.length] === '/');
}

/**
 * The container that a cgroup path names, `…/<id>` or `…/docker-<id>.scope`. The outermost one, so that a cgroup which a container
 * makes below its own cannot stand for another container.
 */
export function containerIn(path: string): string | undefined {
  return /(?:^|\/)(?:docker-)?([0-9a-f]{64})(?:\.scope)?(?=\/|$)/.exec(path)?.[1];
}

/** The root of the cgroup mount that belongs to `head`, from /proc/self/mountinfo (proc(5)); '' for the real root. */
export function mountRoot(mountinfo: string, head: string): string {
  const controllers = head.split(':')[1]!.split(',');
  for (const line of mountinfo.split('\n')) {
    const [left, right] = line.split(' - ');
    if (left === undefined || right === undefined) continue;
    const [type, , options = ''] = right.split(' ');
    const isMatch = head === '0::' ? type === 'cgroup2' : type === 'cgroup' && controllers.every((name) => options.split(',').includes(name));
    const root = left.split(' ')[3];
    if (isMatch && root !== undefined) return root === '/' || root.startsWith('/..') ? '' : root;
  }
  return '';
}

/** Callers as this host's /proc describes them. */
export class ProcCallers implements Callers {
  readonly #processes = new Map<number, { readonly at: number; readonly process: ProcessName }>();
  readonly #gesturePid: () => number;
  #head: string | undefined;
  #root = '';

  /** @param gesturePid the single-threaded child that performs the agent's gestures on the mount; 0 for none */
  constructor(gesturePid: () => number = () => 0) {
    this.#gesturePid = gesturePid;
  }

  isOwn(tid: number): boolean {
    if (tid === 0) return false;
    if (existsSync(`/proc/self/task/${tid}`)) return true;
    // The parent is checked too: the child's number may be another's by the time its end is known.
    return tid === this.#gesturePid() && new RegExp(`^PPid:\\t${process.pid}$`, 'm').test(readProc(`/proc/${tid}/status`) ?? '');
  }

  isInCgroup(tid: number, cgroupPath: string): boolean {
    const path = this.#pathOf(tid);
    return path !== undefined && isWithin(path, this.#root + cgroupPath);
  }

  isInContainer(tid: number, id: string): boolean {
    const path = this.#pathOf(tid);
    return path !== undefined && path.startsWith(this.#root) && containerIn(path.slice(this.#root.length)) === id;
  }

  #pathOf(tid: number): string | undefined {
    if (tid === 0) return undefined;
    const file = readProc(`/proc/${tid}/cgroup`);
    if (file === undefined) return undefined;
    let path = this.#head === undefined ? undefined : cgroupPathIn(file, this.#head);
    if (path === undefined) {
      this.#findHierarchy(file);
      path = this.#head === undefined ? undefined : cgroupPathIn(file, this.#head);
    }
    return path;
  }

  process(tid: number): ProcessName | undefined {
    const now = performance.now();
    const known = this.#processes.get(tid);
    if (known !== undefined && now - known.at < CACHE_MS) return known.process;
    const match = tid === 0 ? null : /^Name:\t(.*)\n(?:.*\n)*?Tgid:\t(\d+)\n/.exec(readProc(`/proc/${tid}/status`) ?? '');
    if (match === null) return undefined;
    const process = { tgid: Number(match[2]), name: match[1]! };
    if (this.#processes.size >= CACHE_ENTRIES) this.#processes.clear();
    this.#processes.set(tid, { at: now, process });
    return process;
  }

  executable(tid: number): string {
    try {
      return readlinkSync(`/proc/${tid}/exe`);
    } catch {
      return '';
    }
  }

  isSplicing(tid: number): boolean {
    // proc(5): the number of the system call, -1 outside of one (a page fault); io_uring splices in threads of its own.
    const call = readProc(`/proc/${tid}/syscall`);
    return call === undefined || SPLICING.has(call.split(' ', 1)[0]!) || this.process(tid)?.name.startsWith('iou-wrk-') === true;
  }

  #findHierarchy(cgroupFile: string): void {
    const mountinfo = readFileSync('/proc/self/mountinfo', 'utf8');
    this.#head = decidingHierarchy(cgroupFile, mountinfo);
    if (this.#head !== undefined) this.#root = mountRoot(mountinfo, this.#head);
  }
}
