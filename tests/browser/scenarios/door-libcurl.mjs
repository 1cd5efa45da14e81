import { sleep, within } from "../client/context.mjs";
import { mib, sequence, sha256 } from "../client/octets.mjs";

export const about = "libcurl.js as it comes from npm, at the door /wisp/, and by its other transport at /tcp/";
export const where = ["chromium"];
export const deadline = 120;
export const host = {
  install: async () => (await import("../harness/vendor.mjs")).installVendor("libcurl.js", "0.7.4"),
};

const WWW = "www.playground.test";
const SIZE = 32 * 1024 * 1024;
/** Its uploads are slow by whatever transport, and those of 32 MiB are too long for it. */
const UP = 2 * 1024 * 1024;
const STREAMS = 1000;
/** Wisp's reasons of a CLOSE. */
const REFUSED = 0x44;
const DENIED = 0x48;

/** What its fetch says of no connection, of one that ends without a word, and of one that breaks: it is told no more. */
const FAILED = /error code (7|52|56):/;
const NOWHERE = [`${WWW}:1`, "10.9.8.7", "nobody.playground.test"];

const encoder = new TextEncoder();

export default async function (t) {
  await t.host("install");
  const { libcurl } = await import("/vendor/libcurl.js/libcurl.mjs");
  await libcurl.load_wasm("/vendor/libcurl.js/libcurl.wasm");
  for (const [transport, door] of [["wisp", "wisp"], ["wsproxy", "tcp"]]) {
    libcurl.transport = transport;
    libcurl.set_websocket(`${t.url()}/${door}/`);
    await transfers(t, libcurl, transport);
    for (const to of NOWHERE) {
      const told = libcurl.fetch(`http://${to}/`).then(({ status }) => `status ${status}`, ({ message }) => message);
      const message = await within(told, to);
      t.check(FAILED.test(message), `by ${transport}, ${to}: ${message}`);
    }
  }
  // What is below its transport.
  const connection = new libcurl.wisp.WispConnection(`${t.url()}/wisp/`);
  await within(new Promise((resolve) => connection.addEventListener("open", resolve)), "the connection");
  await manyStreams(t, connection);
  await datagrams(t, connection);
  const reasons = await Promise.all([ended(connection, WWW, 1), ended(connection, "10.9.8.7", 80)]);
  t.equal(`${reasons}`, `${[REFUSED, DENIED]}`, "reasons of streams that are not opened");
  return `${mib(SIZE)} down, ${mib(UP)} up, ${STREAMS} streams, datagrams`;
}

async function transfers(t, libcurl, transport) {
  const options = { _libcurl_http_version: 1.1 };
  const response = await within(libcurl.fetch(`http://${WWW}/blob?size=${SIZE}`, options), "the download", 60_000);
  const got = new Uint8Array(await within(response.arrayBuffer(), "the download", 60_000));
  t.equal(got.length, SIZE, `octets of the download by ${transport}`);
  t.equal(await sha256(got), await sha256(sequence(SIZE)), `hash of the download by ${transport}`);

  const body = sequence(UP);
  const put = libcurl.fetch(`http://${WWW}/sink`, { ...options, method: "PUT", body });
  const { octets, sha256: seen } = await (await within(put, "the upload", 60_000)).json();
  t.equal(octets, UP, `octets of the upload by ${transport}`);
  t.equal(seen, await sha256(body), `hash of the upload by ${transport}`);
}

/** Why a stream to there ends. */
function ended(connection, name, port) {
  const stream = connection.create_stream(name, port);
  const end = new Promise((resolve) => stream.addEventListener("close", ({ code }) => resolve(code)));
  return within(end, `the end of ${name}:${port}`);
}

/** What comes, up to so many octets. */
function heard(stream, enough) {
  return new Promise((resolve, reject) => {
    let all = new Uint8Array(0);
    stream.addEventListener("message", ({ data }) => {
      all = Uint8Array.of(...all, ...data);
      if (all.length >= enough) resolve(all);
    });
    stream.addEventListener("close", ({ code }) => reject(new Error(`closed for ${code}`)));
  });
}

/** All open at once, each with its own words. */
async function manyStreams(t, connection) {
  const echoes = Array.from({ length: STREAMS }, async (_, number) => {
    const stream = connection.create_stream(WWW, 7);
    const words = encoder.encode(`stream ${number} of ${STREAMS}`);
    const echo = heard(stream, words.length);
    stream.send(words);
    return { stream, right: `${await within(echo, `stream ${number}`)}` === `${words}` };
  });
  const streams = await Promise.all(echoes);
  t.equal(streams.filter(({ right }) => right).length, STREAMS, "echoes");
  for (const { stream } of streams) stream.close();
}

/** Sent until they are answered, as UDP wants it. */
async function datagrams(t, connection) {
  for (const size of [1, 1400, 9000]) {
    const stream = connection.create_stream(WWW, 7, "udp");
    const sent = sequence(size);
    let got;
    const echo = heard(stream, size).then((all) => (got = all));
    for (let tries = 0; got === undefined && tries < 50; tries++) {
      stream.send(sent);
      await Promise.race([echo, sleep(100)]);
    }
    t.equal(`${got}`, `${sent}`, `a datagram of ${size} octets`);
    stream.close();
  }
}
