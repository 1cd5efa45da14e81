import { within } from "../client/context.mjs";
import { mib, sequence, sha256 } from "../client/octets.mjs";
import { Program } from "../client/program.mjs";

export const about = "curl, built by emcc without us, whose sockets are WebSockets, with ALL_PROXY=socks5h://USER:TOKEN@GATEWAY";
export const egress = true;
export const where = ["chromium"];
export const programs = ["curl-sockfs"];
export const strict = true;
export const deadline = 120;
export const host = {
  address: ({ strict }) => strict.host,
  /** Of a user whose session may outlast the scenario. */
  token: async () => (await import("../harness/strict-gateway.mjs")).sign({ sub: "socks" }),
};

const SIZE = 8 << 20;
/** 45.33.7.53, by its name, and 10.9.8.7, which the gateway denies. */
const NAME = "2d210735.at.test";
const DENIED = "0a090807.at.test";
/** Of curl: the proxy has refused. */
const PROXY = 97;

export default async function (t) {
  const [address, token] = await Promise.all([t.host("address"), t.host("token")]);
  const curl = (credential, ...args) => {
    const settings = {
      preRun: (page) => (page.ENV.ALL_PROXY = `socks5h://${credential}${address}`),
      onEnd: ({ FS }) => (FS.analyzePath("/blob").exists ? FS.readFile("/blob") : undefined),
    };
    return within(Program.runInFrame(settings, "curl-sockfs", "-sS", "-o", "/blob", ...args), `curl ${args}`, 60_000);
  };
  for (const credential of [`me:${token}@`, `${token}:@`]) {
    const { exit, errors, kept } = await curl(credential, `http://${NAME}:82/blob?size=${SIZE}`);
    t.equal(exit, 0, `curl's exit status: ${errors.join(" ")}`);
    t.equal(kept.length, SIZE, "octets of the download");
    t.equal(await sha256(kept), await sha256(sequence(SIZE)), "hash of the download");
  }
  for (const [credential, to, words] of [
    ["me:wrong@", NAME, "rejected by the SOCKS5 server (1 1)"],
    ["", NAME, "No authentication method was acceptable"],
    [`me:${token}@`, "10.9.8.7", "10.9.8.7. (2)"],
    [`me:${token}@`, DENIED, `${DENIED}. (2)`],
    [`me:${token}@`, `${NAME}:1`, `${NAME}. (5)`],
    [`me:${token}@`, "nobody.at.test", "nobody.at.test. (4)"],
  ]) {
    const { exit, errors } = await curl(credential, `http://${to}/`);
    const error = errors.join(" ");
    t.check(exit === PROXY && error.includes(words), `${credential} to ${to}: ${exit}, ${error}`);
  }
  return `${mib(SIZE)} by name, 6 refusals`;
}
