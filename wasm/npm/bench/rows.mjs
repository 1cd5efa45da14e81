// Our row in a harness that measures tunnels side by side; `cargo xtask bench` starts it, in a namespace of its own.
//
// The packets of a tunnel reach this machine by an address that is not loopback: HOST has to be one of its addresses, and
// the one that UDP answers through the TUN device come from. The gateway is the release build, the client the built
// package.

export const HOST = "198.18.0.1";

export const mounts = { "/webtun/": "../dist", "/client/": "../../../tests/browser/client" };

/** A gateway; `egress`: settings of the way out. */
const gateway = (egress) => ({
  cmd: process.env.BENCH_GATEWAY ?? "../../../target/release/webtun-gateway",
  args: ["--config", "{conf}"],
  conf: `
    listen = "127.0.0.1:{port}"
    admin = "off"
    allow_origins = ["*"]
    ${egress}
    # The harness's servers have ports below: a connection of this machine to one of the sessions' ports is for a session.
    external.port_range = "32768-65535"
    [[policy.rule]]
    action = "allow"
    prefix = "${HOST}/32"
  `,
});

/** A socket for each WebSocket, and nothing else; `flags`: the relay's, behind its address. */
const relay = (...flags) => ({
  cmd: process.env.BENCH_RELAY ?? "../../../target/release/examples/bench_relay",
  args: ["127.0.0.1:{port}", ...flags],
});

export const servers = {
  webtun: gateway('tun.name = "wtbench0"'),
  user: gateway('egress = "user"'),
  relay: relay(),
  relay256: relay("--message", `${256 * 1024}`),
};

const ops = ["down", "up", "par", "first", "rtt", "seq", "conc", "hold", "loaded", "stallw", "stallr", "srcclose"];
const http = ["fdown", "fup", "ffirst", "fconc"];

export const peers = [
  { name: "webtun", server: "webtun", client: "./client.mjs", host: HOST, udp: true, ops: [...ops, ...http, "udp", "udpsize"] },
  { name: "webtun/user", server: "user", client: "./client.mjs", host: HOST, ops },
  { name: "webtun/split", server: "webtun", client: "./split.mjs", host: HOST, ops },
  { name: "webtun/wisp", server: "webtun", client: "./wisp.mjs", host: HOST, tail: "/wisp/", udp: true, ops: [...ops, "udp"] },
  // What we are compared with: the least that a tunnel can do, and datagrams that go no further than the WebSocket.
  { name: "relay", server: "relay", client: "./bare.mjs", tail: "", udp: true, ops: ["down", "up", "par", "rtt", "seq", "conc", "udp"] },
  { name: "relay/256k", server: "relay256", client: "./bare.mjs", tail: "", ops: ["down", "up", "par"] },
  { name: "wsbare/udp", server: "wsbare", client: "./bare.mjs", tail: "", udp: true, ops: ["udp"] },
];
