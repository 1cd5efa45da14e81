import { sleep, within } from "../client/context.mjs";
import { mib, sequence, sha256 } from "../client/octets.mjs";

export const about = "the client of wisp-js as it comes from npm, at the door /wisp/, by both versions of the protocol and by password";
export const where = ["chromium"];
export const deadline = 120;
export const strict = true;
export const host = {
  token: async () => (await import("../harness/strict-gateway.mjs")).sign({ sub: "wisp" }),
  install: async () => (await import("../harness/vendor.mjs")).installVendor("@mercuryworkshop/wisp-js", "0.5.0"),
};

const WWW = "www.playground.test";
/** Behind the gateway with tokens. */
const OPEN = "45.33.7.53";
const SIZE = 32 * 1024 * 1024;
const STREAMS = 1000;
/** Wisp's reasons of a CLOSE. */
const FINISHED = 0x02;
const REFUSED = 0x44;
const DENIED = 0x48;

const encoder = new TextEncoder();

export default async function (t) {
  await t.host("install");
  const { client, extensions } = await import("/vendor/@mercuryworkshop/wisp-js/dist/wisp-client.mjs");
  for (const wisp_version of [1, 2]) {
    const connection = new client.ClientConnection(`${t.url()}/wisp/`, { wisp_version });
    await within(new Promise((resolve) => (connection.onopen = resolve)), "the connection");
    t.equal(connection.wisp_version, wisp_version, "the version agreed upon");
    await downloadAndUpload(t, connection);
    await manyStreams(t, connection);
    await datagrams(t, connection);
    const reasons = await Promise.all([ended(connection, WWW, 1), ended(connection, "10.9.8.7", 80)]);
    t.equal(`${reasons}`, `${[REFUSED, DENIED]}`, "reasons of streams that are not opened");
    connection.close();
  }
  await byPassword(t, client, extensions);
  return `${mib(SIZE)} down and up, ${STREAMS} streams, datagrams, by version 1 and 2`;
}

/** A gateway with tokens takes them for passwords. */
async function byPassword(t, { ClientConnection }, { PasswordAuthExtension }) {
  const token = await t.host("token");
  const enter = (password) => {
    const wisp_extensions = [new PasswordAuthExtension({ client_config: { username: "me", password } })];
    const connection = new ClientConnection(`${t.url("strict")}/wisp/`, { wisp_version: 2, wisp_extensions });
    const outcome = new Promise((resolve) => {
      connection.onopen = () => resolve("open");
      connection.onclose = () => resolve("closed");
    });
    return { connection, outcome: within(outcome, `the answer to ${password}`) };
  };
  const { connection, outcome } = enter(token);
  t.equal(await outcome, "open", "a connection by password");
  const stream = connection.create_stream(OPEN, 80);
  const word = new Promise((resolve) => (stream.onmessage = resolve));
  t.equal(new TextDecoder().decode(await within(word, "a word")), "reached", "what comes by it");
  connection.close();
  t.equal(await enter("wrong").outcome, "closed", "a connection by a wrong password");
}

/** Why a stream to there ends. */
function ended(connection, name, port) {
  const stream = connection.create_stream(name, port);
  return within(new Promise((resolve) => (stream.onclose = resolve)), `the end of ${name}:${port}`);
}

/** Sends a request and gives all that comes. */
function ask(connection, request, body = []) {
  const stream = connection.create_stream(WWW, 80);
  const pieces = [];
  stream.onmessage = (piece) => pieces.push(piece.slice());
  const over = new Promise((resolve, reject) => {
    stream.onclose = (reason) => (reason === FINISHED ? resolve() : reject(new Error(`closed for ${reason}`)));
  });
  for (const piece of [encoder.encode(request), ...body]) stream.send(piece);
  return within(over.then(() => new Blob(pieces).arrayBuffer()).then((all) => new Uint8Array(all)), request, 60_000);
}

function body(answer) {
  const text = new TextDecoder("latin1").decode(answer.subarray(0, 4096));
  return answer.subarray(text.indexOf("\r\n\r\n") + 4);
}

async function downloadAndUpload(t, connection) {
  const data = sequence(SIZE);
  const hash = await sha256(data);
  const got = body(await ask(connection, `GET /blob?size=${SIZE} HTTP/1.0\r\n\r\n`));
  t.equal(got.length, SIZE, "octets of the download");
  t.equal(await sha256(got), hash, "hash of the download");

  const pieces = Array.from({ length: SIZE / 65536 }, (_, number) => data.slice(number * 65536, (number + 1) * 65536));
  const answer = body(await ask(connection, `PUT /sink HTTP/1.0\r\nContent-Length: ${SIZE}\r\n\r\n`, pieces));
  const { octets, sha256: seen } = JSON.parse(new TextDecoder().decode(answer));
  t.equal(octets, SIZE, "octets of the upload");
  t.equal(seen, hash, "hash of the upload");
}

/** All open at once, each with its own words. */
async function manyStreams(t, connection) {
  const echoes = Array.from({ length: STREAMS }, async (_, number) => {
    const stream = connection.create_stream(WWW, 7);
    const words = `stream ${number} of ${STREAMS}`;
    let heard = "";
    const echo = new Promise((resolve, reject) => {
      stream.onmessage = (piece) => {
        heard += new TextDecoder().decode(piece);
        if (heard.length >= words.length) resolve();
      };
      stream.onclose = (reason) => reject(new Error(`stream ${number} closed for ${reason}`));
    });
    stream.send(encoder.encode(words));
    await within(echo, words);
    return { stream, right: heard === words };
  });
  const streams = await Promise.all(echoes);
  t.equal(streams.filter(({ right }) => right).length, STREAMS, "echoes");
  for (const { stream } of streams) stream.close(FINISHED);
}

/** Sent until they are answered, as UDP wants it. */
async function datagrams(t, connection) {
  for (const size of [0, 1, 1400, 9000]) {
    const stream = connection.create_stream(WWW, 7, "udp");
    const sent = sequence(size);
    let got;
    stream.onmessage = (datagram) => (got = datagram.slice());
    for (let tries = 0; got === undefined && tries < 50; tries++) {
      stream.send(sent);
      await sleep(100);
    }
    t.equal(`${got}`, `${sent}`, `a datagram of ${size} octets`);
    stream.close(FINISHED);
  }
}
