// The rows of fetch over TLS: before the harness's HTTP server lies one of TLS, which each row's server brings along.
import { authority } from "../../../tests/browser/servers/certificates.mjs";
import { HOST, mounts, servers as plain } from "./rows.mjs";

export { mounts };

const { ca, issue } = authority();
// Wisp servers reach the harness by loopback.
const { key, cert } = issue(HOST, 2, "127.0.0.1");

const behindTls = ({ cmd, args, conf = "" }) => ({
  cmd: "node",
  args: ["tls-front.mjs", "{base}", "{conf}", cmd, ...args],
  conf: JSON.stringify({ key: String(key), cert: String(cert), conf }),
});

/** As the harness starts it. */
const wispJs = {
  cmd: "node",
  args: [
    "{cache}/js/node_modules/@mercuryworkshop/wisp-js/src/bin/server_cli.mjs",
    ..."-H 127.0.0.1 -P {port} -L ERROR -O".split(" "),
    '{"allow_loopback_ips":true}',
  ],
};

export const servers = { "webtun/tls": behindTls(plain.webtun), "wisp-js/tls": behindTls(wispJs) };

const ops = ["fdown", "fup", "ffirst", "fconc"];
const cfg = { roots: ca };

export const peers = [
  { name: "webtun/tls", server: "webtun/tls", client: "./tls-client.mjs", host: HOST, cfg, ops },
  { name: "js/epoxy2/tls", server: "wisp-js/tls", client: "./tls-epoxy.mjs", cfg, tail: "/", ops },
];
