// Patterns with `*`, as operators write them in roles.

/**
 * True when `value` is `pattern`, where `*` is any run of characters. Each piece between stars is taken at its first place
 * after the one before, which is always right and never goes back: no pattern makes it slow.
 */
export function matchesGlob(pattern: string, value: string): boolean {
  const pieces = pattern.split('*');
  const first = pieces[0] ?? '';
  if (pieces.length === 1) return value === pattern;
  const last = pieces[pieces.length - 1] ?? '';
  if (!value.startsWith(first) || !value.endsWith(last) || value.length < first.length + last.length) return false;
  let position = first.length;
  for (const piece of pieces.slice(1, -1)) {
    const found = value.indexOf(piece, position);
    if (found < 0) return false;
    position = found + piece.length;
  }
  return position <= value.length - last.length;
}
