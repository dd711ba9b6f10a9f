// A view is a chroot over the barrier: engines, auth methods and the audit broker get one and can reach nothing outside it.
// Keys are relative; values are plaintext. The barrier below encrypts, and binds each record to its full path.

export type ViewOperation =
  | { readonly kind: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly kind: 'delete'; readonly key: string };

export interface View {
  /** @throws ERR_BARRIER_SEALED when sealed, ERR_BARRIER_OPEN when the record was tampered with */
  get(key: string): Promise<Uint8Array | undefined>;
  put(key: string, value: Uint8Array): Promise<void>;
  delete(key: string): Promise<void>;
  /** As Storage.list. */
  list(prefix: string, page?: { readonly after?: string; readonly limit?: number }): Promise<string[]>;
  transaction(operations: readonly ViewOperation[]): Promise<void>;
  /** A narrower view; `prefix` must end in '/'. */
  sub(prefix: string): View;
}
