// Prints the error codes as a Markdown table, for the README.
// usage: node --import tsx scripts/list-errors.mjs
import { ERROR_CODES } from '../src/lib/error-codes.ts';

process.stdout.write(`| code | meaning |\n|---|---|\n${Object.entries(ERROR_CODES).map(([code, meaning]) => `| \`${code}\` | ${meaning} |\n`).join('')}`);
