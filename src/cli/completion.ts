// Completion scripts for bash, zsh and fish, made from the command tree itself: for every command the words that can follow it. They are
// static: completing starts no process and asks no core.

import type { Command } from 'commander';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

interface Word { readonly text: string; readonly description: string }
/** The words behind a command; `path` is '' for purser itself, ' kv get' for one below. */
interface Place { readonly path: string; readonly words: readonly Word[] }

/** The script of one shell for the whole tree below `program`. */
export function completionScript(shell: Shell, program: Command): string {
  return SCRIPTS[shell](placesOf(program, ''));
}

const SCRIPTS: Readonly<Record<Shell, (places: readonly Place[]) => string>> = { bash, zsh, fish };

function placesOf(command: Command, path: string): Place[] {
  const commands = command.commands.filter((child) => child.name() !== 'help');
  const options = command.createHelp().visibleOptions(command).flatMap(({ long, description }) => (typeof long === 'string' ? [{ text: long, description }] : []));
  const words = [...commands.map((child) => ({ text: child.name(), description: child.description() })), ...options];
  return [{ path, words }, ...commands.flatMap((child) => placesOf(child, `${path} ${child.name()}`))];
}

/** `case` arms that follow the command line from one command to the next. */
function walk(places: readonly Place[]): string {
  return places.slice(1).map(({ path }) => quoted(path)).join('|');
}

function arms(places: readonly Place[]): string {
  return places.map(({ path, words }) => `    ${quoted(path)}) words=${quoted(words.map(({ text }) => text).join(' '))} ;;`).join('\n');
}

function bash(places: readonly Place[]): string {
  return `# bash completion of purser; load it with: source <(purser completion bash)
_purser() {
  local path='' words='' word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    case "$path $word" in
      ${walk(places)}) path="$path $word" ;;
    esac
  done
  case "$path" in
${arms(places)}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _purser purser
`;
}

function zsh(places: readonly Place[]): string {
  return `#compdef purser
# zsh completion of purser; load it with: source <(purser completion zsh), after compinit
_purser() {
  local at='' words_here='' word
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$at $word" in
      ${walk(places)}) at="$at $word" ;;
    esac
  done
  case "$at" in
${arms(places).replaceAll(') words=', ') words_here=')}
  esac
  compadd -- \${=words_here}
  _files
}
if [ "\${funcstack[1]}" = _purser ]; then _purser "$@"; else compdef _purser purser; fi
`;
}

function fish(places: readonly Place[]): string {
  const lines = places.flatMap(({ path, words }) => words.map(({ text, description }) => {
    const what = text.startsWith('--') ? `-l ${text.slice(2)}` : `-f -a ${text}`; // no file names where a command is due
    return `complete -c purser -n "test (__purser_path) = 'purser${path}'" ${what} -d ${quoted(description)}`;
  }));
  return `# fish completion of purser; load it with: purser completion fish | source
function __purser_path
  set -l path ''
  for word in (commandline -opc)[2..]
    switch "$path $word"
      case ${places.slice(1).map((place) => quoted(place.path)).join(' ')}
        set path "$path $word"
    end
  end
  echo "purser$path"
end
${lines.join('\n')}
`;
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '').replaceAll("'", '')}'`;
}
