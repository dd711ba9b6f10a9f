// Options that may be given several times, one value each. Not commander's `<value...>`: that takes every following word, so that
// `--policy app NAME` would leave the command without its name.

import { Option } from 'commander';

/** @param flags such as `--policy <name>`; the values come as a list */
export function repeated(flags: string, description = ''): Option {
  return new Option(flags, `${description}${description === '' ? '' : ' '}(may be repeated)`)
    .argParser((value: string, before: readonly string[] | undefined) => [...before ?? [], value]);
}
