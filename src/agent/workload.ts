// What the core is told of a container. Docker adds the labels of an image to those that a container was given, so whoever makes an image
// could claim a team or a service with them: a label that the image brings is marked as such, and says nothing of service, stack and task.

import type { Workload } from '../wire/node-protocol.ts';

/** A container as Docker knows it. */
export interface DockerContainer {
  readonly id: string;
  /** With Docker's leading slash or without. */
  readonly name: string;
  /** As the container was asked for, such as `registry/shop/web:2`. */
  readonly image: string;
  readonly imageId?: string | undefined;
  /** Those of the container and of its image, Purser's own too. */
  readonly labels: Readonly<Record<string, string>>;
}

/** Who knows images. */
export interface Images {
  imageLabels(imageId: string): Promise<Readonly<Record<string, string>>>;
}

/** The labels that Swarm gives the containers of its tasks (moby: daemon/cluster/executor/container/container.go, labels()). */
const SERVICE = 'com.docker.swarm.service.name';
const TASK = 'com.docker.swarm.task.id';
const STACK = 'com.docker.stack.namespace';

/** 256 workloads with as much stay below the limits of the core's API (src/server/config.ts, 32 MiB; 250,000 values). */
const MAX_LABELS = 256;
const MAX_LABEL_BYTES = 64 * 1024;

/** @param images tells the labels of an image; where it cannot, every label might be the image's */
export async function workloadOf(container: DockerContainer, images: Images): Promise<Workload> {
  const { labels, image, imageId } = container;
  const own = boundedLabels(labels);
  const ofImage = Object.keys(own).length === 0 ? {} : await labelsOfImage(imageId, images);
  const isOfImage = (name: string): boolean => ofImage === undefined || (Object.hasOwn(ofImage, name) && ofImage[name] === own[name]);
  const marked = Object.keys(own).filter(isOfImage);
  const given = (name: string): string | undefined => isOfImage(name) ? undefined : own[name];
  const digest = /@(sha256:[0-9a-f]{64})$/.exec(image)?.[1] ?? imageId;
  const [service, stack, task] = [given(SERVICE), given(STACK), given(TASK)];
  return {
    id: container.id,
    name: container.name.replace(/^\//, ''),
    image,
    labels: own,
    ...(marked.length === 0 ? {} : { image_labels: marked }),
    ...(digest ? { image_digest: digest } : {}),
    ...(service === undefined ? {} : { service }),
    ...(stack === undefined ? {} : { stack }),
    ...(task === undefined ? {} : { task_id: task }),
  };
}

/**
 * What a role could select by. Purser's own labels say what a container wants, not what it is, and a reference in one may hold a default. Of the
 * others only so much is told that the containers of a node, asked about together, fit one request whatever their images bring.
 */
function boundedLabels(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const told: Record<string, string> = {};
  let count = 0;
  let bytes = 0;
  for (const [name, value] of Object.entries(labels)) {
    const size = Buffer.byteLength(name) + Buffer.byteLength(value);
    if (name.startsWith('purser.') || name === '__proto__' || count >= MAX_LABELS || bytes + size > MAX_LABEL_BYTES) continue;
    told[name] = value;
    count++;
    bytes += size;
  }
  return told;
}

function labelsOfImage(imageId: string | undefined, images: Images): Promise<Readonly<Record<string, string>> | undefined> | undefined {
  return imageId === undefined || imageId === '' ? undefined : images.imageLabels(imageId).catch(() => undefined);
}
