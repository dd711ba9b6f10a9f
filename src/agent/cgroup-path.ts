// From `linux.cgroupsPath` of an OCI bundle to the path that /proc/PID/cgroup shows for the container's processes, as runc makes it
// (libcontainer/cgroups/systemd: ExpandSlice, getUnitName; libcontainer/specconv: createCgroupConfig). Pure.

import { PurserError } from '../lib/errors.ts';

/** runc's default parent for the systemd driver. */
const DEFAULT_SLICE = 'system.slice';

/**
 * @param cgroupsPath an absolute path (cgroupfs driver) or `slice:prefix:name` (systemd driver)
 * @returns an absolute path below the cgroup root
 * @throws ERR_RUNTIME_BUNDLE when the path is relative (runc then joins it to a cgroup of its own, which cannot be known here)
 */
export function expectedCgroupPath(cgroupsPath: string): string {
  const parts = cgroupsPath.split(':');
  if (!cgroupsPath.startsWith('/') && parts.length === 3) {
    const [slice = '', prefix = '', name = ''] = parts;
    const unit = name.endsWith('.slice') ? name : `${prefix}-${name}.scope`;
    if (name === '' || unit.includes('/')) throw invalid('names no systemd unit');
    return `${expandSlice(slice === '' ? DEFAULT_SLICE : slice)}/${unit}`;
  }
  if (!cgroupsPath.startsWith('/') || cgroupsPath.split('/').includes('..')) throw invalid('is not absolute', 'give --cgroup-parent with a leading slash');
  const path = cgroupsPath.replace(/\/+/g, '/').replace(/\/$/, '');
  if (path === '') throw invalid('is the root cgroup');
  return path;
}

/** `a-b.slice` lies in `a.slice` (systemd.slice(5)); `-.slice` is the root. */
function expandSlice(slice: string): string {
  const name = slice.slice(0, -'.slice'.length);
  if (!slice.endsWith('.slice') || slice.includes('/')) throw invalid('names no systemd slice');
  if (name === '-') return '';
  const parts = name.split('-');
  if (parts.includes('')) throw invalid('names no systemd slice');
  return parts.map((_, index) => `/${parts.slice(0, index + 1).join('-')}.slice`).join('');
}

function invalid(what: string, hint = 'check --cgroup-parent of the container and cgroup-parent of the Docker daemon'): PurserError {
  return new PurserError('ERR_RUNTIME_BUNDLE', `the cgroup path of the container ${what}`, { hint });
}
