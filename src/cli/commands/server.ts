// `purser server`: the options of the encrypted core. They are checked by the server itself; this file only names them.

import type { Command } from 'commander';

import type { CommandContext } from '../context.ts';
import { repeated } from '../option-values.ts';

/** Adds `purser server`. */
export function registerServer(program: Command, context: CommandContext): void {
  program.command('server').description('run the encrypted core')
    .option('--config <file>', 'JSON configuration; flags win over it')
    .option('--data-dir <directory>', 'where everything is kept (default /var/lib/purser/server)')
    .option('--listen <address:port>', 'default 127.0.0.1:8200')
    .option('--public-address <url>', 'how nodes reach this core; written into join tokens')
    .option('--tls-cert <file>', 'certificate chain; without it the server makes its own CA and certificate')
    .option('--tls-key <file>', 'its key')
    .addOption(repeated('--tls-name <name>', 'further names or addresses for the certificate that the server makes'))
    .option('--http', 'plain HTTP, on a loopback address only')
    .option('--auto-unseal-key-file <file>', 'unseal from this 0600 file, for single hosts')
    .option('--init-if-needed', 'with --auto-unseal-key-file: initialize a new core and write that file')
    .option('--audit-file <file>', 'audit file (default audit/audit.log in the data directory)')
    .option('--replace-damaged-audit', 'set a damaged audit file aside and go on in a new one')
    .option('--allow-generate-root', 'recovery: a root token can be made with unseal shares alone, from this host')
    .option('--no-web', 'do not serve the web page at /ui/')
    .option('--log-level <level>', 'error, warn, info or debug')
    .option('--dev', 'a throw-away core: in memory, unsealed, plain HTTP on loopback')
    .option('--dev-root-token <token>', 'root token of --dev')
    .action(async (options: object) => { context.exit(await context.programs.server(options)); });
}
