// The verb LIST against a real listener, byte by byte, because Node's parser refuses it.

import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { acceptListVerb, listVerb } from '../../src/server/http/list-verb.ts';

const HEADERS = ' HTTP/1.1\r\nHost: x\r\n';
const GET = `GET /get${HEADERS}\r\n`;
const LIST = `LIST /list${HEADERS}\r\n`;
const REFUSED = 'HTTP/1.1 400 Bad Request';

let server: Server;
const served: string[] = [];

before(async () => {
  server = createServer((request, response) => {
    const verb = listVerb(request);
    if (verb === 'ignore') return;
    served.push(`${verb === 'list' ? 'LIST' : request.method} ${request.url}`);
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => setTimeout(() => {
      if (verb === 'list') response.setHeader('Connection', 'close');
      response.end(`[${verb} ${request.method} ${request.url} ${request.socket.remoteAddress} ${Buffer.concat(chunks).toString()}]`);
    }, 5));
  });
  acceptListVerb(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
after(() => new Promise((resolve) => { server.closeAllConnections(); server.close(resolve); }));

/** Sends the packets one after the other; gives everything the server wrote until it closed the connection or stayed silent. */
function send(...packets: readonly string[]): Promise<{ readonly text: string; readonly isClosed: boolean }> {
  return new Promise((resolve, reject) => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    let text = '';
    let idle: NodeJS.Timeout;
    const finish = (isClosed: boolean): void => { clearTimeout(idle); socket.destroy(); resolve({ text, isClosed }); };
    const rearm = (): void => { clearTimeout(idle); idle = setTimeout(() => finish(false), 20_000); };
    socket.setNoDelay(true);
    socket.on('error', reject);
    socket.on('data', (chunk) => { text += chunk.toString(); rearm(); });
    socket.on('close', () => finish(true));
    rearm();
    void (async () => {
      for (const packet of packets) { socket.write(packet); await new Promise((next) => setTimeout(next, 8)); }
    })();
  });
}

const bodies = (text: string): string[] => [...text.matchAll(/\[[^\]]*\]/g)].map(([body]) => body);
const LISTED = '[list GET /list 127.0.0.1 ]';

describe('acceptListVerb()', () => {
  const whole: readonly (readonly [name: string, packets: readonly string[], expected: readonly string[]])[] = [
    ['in one packet', [LIST], [LISTED]],
    ['after an empty line', [`\r\n${LIST}`], [LISTED]],
    ['one byte at a time', [...LIST], [LISTED]],
    ['split in its headers', [LIST.slice(0, 20), LIST.slice(20)], [LISTED]],
    ['with a body in two packets', [`LIST /list${HEADERS}Content-Length: 5\r\n\r\nab`, 'cde'], ['[list GET /list 127.0.0.1 abcde]']],
    ['with a chunked body that contains the word', [`LIST /list${HEADERS}Transfer-Encoding: chunked\r\n\r\n`, '5\r\nLIST \r\n0\r\n\r\n'], ['[list GET /list 127.0.0.1 LIST ]']],
    ['on a kept connection', [GET, LIST], ['[no GET /get 127.0.0.1 ]', LISTED]],
    ['pipelined behind another request', [GET + LIST], ['[no GET /get 127.0.0.1 ]', LISTED]],
    ['pipelined behind two, split in the verb', [`${GET}${GET}LI`, LIST.slice(2)], ['[no GET /get 127.0.0.1 ]', '[no GET /get 127.0.0.1 ]', LISTED]],
    ['with a body of another request that begins with it', [`POST /post${HEADERS}Content-Length: 10\r\n\r\n`, 'LIST /list'], ['[no POST /post 127.0.0.1 LIST /list]']],
  ];
  for (let cut = 1; cut <= 5; cut++) {
    test(`acceptListVerb() serves LIST split after byte ${cut}`, async () => {
      assert.deepEqual(bodies((await send(LIST.slice(0, cut), LIST.slice(cut))).text), [LISTED]);
    });
  }
  for (const [name, packets, expected] of whole) {
    test(`acceptListVerb() serves LIST ${name}`, async () => {
      assert.deepEqual(bodies((await send(...packets)).text), expected);
    });
  }

  test('acceptListVerb() closes the connection after a LIST and runs nothing that is pipelined behind it', async () => {
    served.length = 0;
    const { text, isClosed } = await send(LIST + GET + LIST);
    assert.equal(isClosed, true);
    assert.deepEqual(bodies(text), [LISTED]);
    assert.deepEqual(served, ['LIST /list']);
  });

  const refused: readonly (readonly [name: string, packet: string])[] = [
    ['another unknown verb', `FETCH /${HEADERS}\r\n`],
    ['a verb that begins like it', `LISTEN /${HEADERS}\r\n`],
    ['a verb that ends like it', `BLIST /${HEADERS}\r\n`],
    ['its lower-case form', `list /${HEADERS}\r\n`],
    ['both kinds of framing at once', `LIST /${HEADERS}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`],
    ['two lengths', `LIST /${HEADERS}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`],
    ['a folded header', `LIST /${HEADERS} folded\r\n\r\n`],
    ['no host', 'LIST / HTTP/1.1\r\n\r\n'],
  ];
  for (const [name, packet] of refused) {
    test(`acceptListVerb() refuses ${name} with 400 and the end of the connection`, async () => {
      served.length = 0;
      const { text, isClosed } = await send(packet);
      assert.equal(text.split('\r\n')[0], REFUSED);
      assert.equal(isClosed, true);
      assert.deepEqual(served, []);
    });
  }

  test('acceptListVerb() answers 431 to headers without bounds', async () => {
    const { text } = await send(`LIST /${HEADERS}${'a'.repeat(20_000)}: b\r\n\r\n`);
    assert.equal(text.split('\r\n')[0], 'HTTP/1.1 431 Request Header Fields Too Large');
  });

  test('acceptListVerb() answers a parse error in the shape of an API error', async () => {
    const { text } = await send('nonsense\r\n\r\n');
    const [head, body] = text.split('\r\n\r\n');
    assert.match(head!, /\r\nContent-Type: application\/json\r\nCache-Control: no-store\r\n/);
    assert.deepEqual(JSON.parse(body!), { errors: ['the request is not valid HTTP'] });
  });

  test('acceptListVerb() lets the server close while a LIST is half sent', async () => {
    const lonely = createServer();
    acceptListVerb(lonely);
    await new Promise<void>((resolve) => lonely.listen(0, '127.0.0.1', resolve));
    const socket = connect((lonely.address() as AddressInfo).port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write('LIS');
    await new Promise((resolve) => setTimeout(resolve, 30));
    socket.destroy();
    await new Promise<void>((resolve, reject) => lonely.close((error) => (error ? reject(error) : resolve())));
  });
});
