// What operators are told of. An event says what happened to what, and never a value.

import type { JsonObject } from '../../core/logical.ts';

export const EVENT_TYPES = ['refused-read', 'denied', 'canary-read', 'node-lost', 'rotation-stuck'] as const;
export type EventType = (typeof EVENT_TYPES)[number];

export interface NewEvent {
  readonly type: EventType;
  /** Events of one type about the same subject are one, while it is not quiet. */
  readonly subject: string;
  readonly details: JsonObject;
}

/** As it is sent. */
export interface NotifyEvent {
  readonly id: string;
  readonly type: EventType;
  /** RFC 3339. */
  readonly time: string;
  /** How often since the event before it about the same subject. */
  readonly count: number;
  readonly details: JsonObject;
}
