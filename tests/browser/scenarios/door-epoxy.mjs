import { sleep, within } from "../client/context.mjs";
import { mib, sequence, sha256 } from "../client/octets.mjs";
import { OctetReader } from "../client/reader.mjs";

export const about = "the client of epoxy-tls as it comes from npm, at the door /wisp/, by both versions of the protocol";
export const where = ["chromium"];
export const deadline = 120;
export const host = {
  install: async () => (await import("../harness/vendor.mjs")).installVendor("@mercuryworkshop/epoxy-tls", "2.1.19-1"),
  authority: async () => (await import("node:fs")).readFileSync(process.env.PLAYGROUND_CA, "utf8"),
};

const EPOXY = "/vendor/@mercuryworkshop/epoxy-tls/full/epoxy";
const WWW = "www.playground.test";
const SIZE = 32 * 1024 * 1024;
/** What its `fetch` sends, all of a request in one packet; and what it gets by TLS of its own, which is slow. */
const FETCHED_UP = SIZE / 2;
const SECURE = SIZE / 8;
const STREAMS = 1000;
/** What its streams give at their end, for whatever reason. */
const END = '{"done":true}';

const encoder = new TextEncoder();

export default async function (t) {
  await t.host("install");
  const { default: load, EpoxyClient, EpoxyClientOptions } = await import(`${EPOXY}.js`);
  await load({ module_or_path: `${EPOXY}.wasm` });
  const authority = await t.host("authority");
  for (const isSecond of [false, true]) {
    const options = new EpoxyClientOptions();
    options.wisp_v2 = isSecond;
    options.udp_extension_required = isSecond;
    options.pem_files = [authority];
    const client = new EpoxyClient(`${t.url()}/wisp/`, options);
    await downloads(t, client);
    await uploads(t, client);
    await manyStreams(t, client);
    await datagrams(t, client);
    for (const to of [`${WWW}:1`, "10.9.8.7:80", "nobody.playground.test:80"]) {
      const { read } = await client.connect_tcp(to);
      const end = await within(read.getReader().read(), `the end of ${to}`);
      t.equal(JSON.stringify(end), END, `what comes from ${to}`);
    }
    client.free();
  }
  return `${mib(SIZE)} down and up, ${mib(FETCHED_UP)} in one packet, ${STREAMS} streams, datagrams, by version 1 and 2`;
}

async function downloads(t, client) {
  for (const [scheme, size] of [["http", SIZE], ["https", SECURE]]) {
    const response = await within(client.fetch(`${scheme}://${WWW}/blob?size=${size}`, {}), scheme, 60_000);
    const got = new Uint8Array(await within(response.arrayBuffer(), scheme, 60_000));
    t.equal(got.length, size, `octets of the download by ${scheme}`);
    t.equal(await sha256(got), await sha256(sequence(size)), `hash of the download by ${scheme}`);
  }
}

async function uploads(t, client) {
  const data = sequence(SIZE);
  const body = data.slice(0, FETCHED_UP);
  const fetched = await within(client.fetch(`http://${WWW}/sink`, { method: "PUT", body }), "the upload", 60_000);
  await checkUpload(t, await fetched.text(), body);

  const { read, write } = await client.connect_tcp(`${WWW}:80`);
  const writer = write.getWriter();
  await writer.write(encoder.encode(`PUT /sink HTTP/1.0\r\nContent-Length: ${SIZE}\r\n\r\n`));
  for (let at = 0; at < SIZE; at += 65536) await writer.write(data.slice(at, at + 65536));
  const answer = await within(new OctetReader(read).text(), "the answer", 60_000);
  await checkUpload(t, answer.slice(answer.indexOf("\r\n\r\n")), data);
}

async function checkUpload(t, told, sent) {
  const { octets, sha256: seen } = JSON.parse(told);
  t.equal(octets, sent.length, "octets of the upload");
  t.equal(seen, await sha256(sent), "hash of the upload");
}

/** All open at once, each with its own words. */
async function manyStreams(t, client) {
  const streams = await within(Promise.all(Array.from({ length: STREAMS }, () => client.connect_tcp(`${WWW}:7`))), "streams");
  const echoes = streams.map(async ({ read, write }, number) => {
    const words = encoder.encode(`stream ${number} of ${STREAMS}`);
    await write.getWriter().write(words);
    const heard = await within(new OctetReader(read).fill(new Uint8Array(words.length)), `stream ${number}`);
    return `${heard}` === `${words}`;
  });
  t.equal((await Promise.all(echoes)).filter((right) => right).length, STREAMS, "echoes");
}

/** Sent until they are answered, as UDP wants it. Its streams have no empty ones. */
async function datagrams(t, client) {
  for (const size of [1, 1400, 9000]) {
    const { read, write } = await within(client.connect_udp(`${WWW}:7`), "a stream for datagrams");
    const writer = write.getWriter();
    const sent = sequence(size);
    let got;
    const heard = read.getReader().read().then(({ value }) => (got = value));
    for (let tries = 0; got === undefined && tries < 50; tries++) {
      await writer.write(sent.slice());
      await Promise.race([heard, sleep(100)]);
    }
    t.equal(`${got}`, `${sent}`, `a datagram of ${size} octets`);
  }
}
