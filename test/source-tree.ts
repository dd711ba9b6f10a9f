// The sources as data, for the tests that hold rules of STYLE over them: every file of src/ parsed once with the TypeScript API.

import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export const SOURCE_DIRECTORY = join(dirname(fileURLToPath(import.meta.url)), '..', 'src');

export interface SourceFile {
  /** Relative to src/, with forward slashes: `core/view.ts`. */
  readonly path: string;
  readonly text: string;
  readonly tree: ts.SourceFile;
}

export interface Import {
  /** A path relative to src/ for a file, else the specifier. Undefined: not a literal, so nobody can tell. */
  readonly target: string | undefined;
  readonly isFile: boolean;
  readonly kind: 'static' | 'type' | 'dynamic';
  readonly line: number;
}

export function sourceFile(path: string, text: string): SourceFile {
  return { path, text, tree: ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true, path.endsWith('x') ? ts.ScriptKind.TSX : ts.ScriptKind.TS) };
}

/** Every TypeScript file below src/, sorted. */
export function sourceFiles(): SourceFile[] {
  return readdirSync(SOURCE_DIRECTORY, { recursive: true, encoding: 'utf8' }).filter((path) => /\.tsx?$/.test(path)).sort()
    .map((path) => sourceFile(path, readFileSync(join(SOURCE_DIRECTORY, path), 'utf8')));
}

/** All nodes, parents first. */
export function nodesOf(tree: ts.SourceFile): ts.Node[] {
  const nodes: ts.Node[] = [];
  const visit = (node: ts.Node): void => {
    nodes.push(node);
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return nodes;
}

export function lineOf(file: SourceFile, node: ts.Node): number {
  return file.tree.getLineAndCharacterOfPosition(node.getStart(file.tree)).line + 1;
}

/** Imports and re-exports of every form: static, type-only, `import()`, `import('…').Type`, `require()`. */
export function importsOf(file: SourceFile): Import[] {
  return nodesOf(file.tree).flatMap((node) => {
    const found = importedBy(node);
    if (found === undefined) return [];
    const specifier = found.specifier !== undefined && ts.isStringLiteralLike(found.specifier) ? found.specifier.text : undefined;
    const isFile = specifier?.startsWith('.') === true;
    const target = isFile ? posix.join(posix.dirname(file.path), specifier) : specifier;
    return [{ target, isFile, kind: found.kind, line: lineOf(file, node) }];
  });
}

function importedBy(node: ts.Node): { readonly specifier: ts.Node | undefined; readonly kind: Import['kind'] } | undefined {
  if (ts.isImportDeclaration(node)) return { specifier: node.moduleSpecifier, kind: isTypeOnly(node.importClause) ? 'type' : 'static' };
  if (ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined) return { specifier: node.moduleSpecifier, kind: node.isTypeOnly ? 'type' : 'static' };
  if (ts.isImportEqualsDeclaration(node) && ts.isExternalModuleReference(node.moduleReference)) return { specifier: node.moduleReference.expression, kind: 'static' };
  if (ts.isImportTypeNode(node)) return { specifier: ts.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined, kind: 'type' };
  if (!ts.isCallExpression(node)) return undefined;
  const isRequire = ts.isIdentifier(node.expression) && node.expression.text === 'require';
  return node.expression.kind === ts.SyntaxKind.ImportKeyword || isRequire ? { specifier: node.arguments[0], kind: 'dynamic' } : undefined;
}

function isTypeOnly(clause: ts.ImportClause | undefined): boolean {
  return clause?.phaseModifier === ts.SyntaxKind.TypeKeyword;
}
