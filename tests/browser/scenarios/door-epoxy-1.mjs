import { sleep, within } from "../client/context.mjs";
import { mib, sequence, sha256 } from "../client/octets.mjs";

export const about = "the version of epoxy-tls that npm gives without being asked for another, at the door /wisp/: fetch and UDP";
export const where = ["chromium"];
export const host = {
  install: async () => (await import("../harness/vendor.mjs")).installVendor("epoxy-1", "npm:@mercuryworkshop/epoxy-tls@1.5.0"),
};

const WWW = "www.playground.test";
const SIZE = 32 * 1024 * 1024;
const UP = SIZE / 2;

export default async function (t) {
  await t.host("install");
  const { default: load } = await import("/vendor/epoxy-1/pkg/epoxy-module-bundled.js");
  const { EpoxyClient } = await load();
  const client = await new EpoxyClient(`${t.url()}/wisp/`, "webtun", 10);
  const response = await within(client.fetch(`http://${WWW}/blob?size=${SIZE}`, {}), "the download");
  const got = new Uint8Array(await within(response.arrayBuffer(), "the download"));
  t.equal(got.length, SIZE, "octets of the download");
  t.equal(await sha256(got), await sha256(sequence(SIZE)), "hash of the download");

  const body = sequence(UP);
  const told = await (await within(client.fetch(`http://${WWW}/sink`, { method: "PUT", body }), "the upload")).json();
  t.equal(told.octets, UP, "octets of the upload");
  t.equal(told.sha256, await sha256(body), "hash of the upload");

  for (const size of [1, 1400, 9000]) {
    const sent = sequence(size);
    let got;
    const ignore = () => {};
    const stream = await client.connect_udp(ignore, ignore, ignore, (datagram) => (got = datagram), `${WWW}:7`);
    for (let tries = 0; got === undefined && tries < 50; tries++) {
      await stream.send(sent.slice());
      await sleep(100);
    }
    t.equal(`${got}`, `${sent}`, `a datagram of ${size} octets`);
  }
  return `${mib(SIZE)} down, ${mib(UP)} up, datagrams`;
}
