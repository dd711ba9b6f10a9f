// JSON merge patch (RFC 7396): null removes a member, an object is merged, anything else replaces. Members are defined, not
// assigned, so that a member named __proto__ is data like any other.

import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';

/** `target` with `patch` applied; neither is changed. */
export function mergePatch(target: JsonObject, patch: JsonObject): JsonObject {
  const merged = new Map<string, JsonValue>(Object.entries(target));
  for (const [name, value] of Object.entries(patch)) {
    const before = merged.get(name);
    if (value === null) merged.delete(name);
    else if (isJsonObject(value)) merged.set(name, mergePatch(isJsonObject(before) ? before : {}, value));
    else merged.set(name, value);
  }
  return Object.fromEntries(merged);
}
