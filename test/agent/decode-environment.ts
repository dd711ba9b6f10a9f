// The body of an `environment` answer read as the runtime reads it (PROTOCOL.md section 2).

export function decodeEnvironment(body: Uint8Array): Record<string, string | undefined> {
  const bytes = Buffer.from(body);
  const variables: Record<string, string | undefined> = {};
  for (let at = 0; at < bytes.length;) {
    const name = bytes.readUInt32LE(at);
    const value = bytes.readUInt32LE(at + 4);
    const begin = at + 8 + name;
    at = begin + (value === 0xffff_ffff ? 0 : value);
    variables[bytes.toString('utf8', begin - name, begin)] = value === 0xffff_ffff ? undefined : bytes.toString('latin1', begin, at);
  }
  return variables;
}
