// How the values of options are read: several of them, pairs, numbers.

import { Option } from 'commander';

import { PurserError } from '../lib/errors.ts';

/**
 * An option that may be given several times, one value each. Not commander's `<value...>`: that takes every following word, so that `--policy app NAME`
 * would leave the command without its name.
 * @param flags such as `--policy <name>`; the values come as a list
 */
export function repeated(flags: string, description = ''): Option {
  return new Option(flags, `${description}${description === '' ? '' : ' '}(may be repeated)`)
    .argParser((value: string, before: readonly string[] | undefined) => [...before ?? [], value]);
}

/** The pairs of `key=value` arguments. @param option what they are, for the message @throws ERR_CLI_USAGE */
export function pairs(option: string, texts: readonly string[]): (readonly [string, string])[] {
  return texts.map((text) => {
    const split = text.indexOf('=');
    if (split < 1) throw new PurserError('ERR_CLI_USAGE', `${option} is written key=value`);
    return [text.slice(0, split), text.slice(split + 1)] as const;
  });
}

/** @throws ERR_CLI_USAGE */
export function wholeNumber(option: string, text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new PurserError('ERR_CLI_USAGE', `${option} takes a whole number`);
  return Number(text);
}
