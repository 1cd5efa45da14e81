// Our row in a harness that measures tunnels side by side; `cargo xtask bench` starts it, in a namespace of its own.
//
// The packets of a tunnel reach this machine by an address that is not loopback: HOST has to be one of its addresses, and
// the one that UDP answers through the TUN device come from. The gateway is the release build, the client the built
// package.

const HOST = "198.18.0.1";

export const mounts = { "/webtun/": "../dist" };

export const servers = {
  webtun: {
    cmd: process.env.BENCH_GATEWAY ?? "../../../target/release/webtun-gateway",
    args: ["--config", "{conf}"],
    conf: `
      listen = "127.0.0.1:{port}"
      admin = "off"
      allow_origins = ["*"]
      tun.name = "wtbench0"
      [[policy.rule]]
      action = "allow"
      prefix = "${HOST}/32"
    `,
  },
};

export const peers = [{ name: "webtun", server: "webtun", client: "./client.mjs", host: HOST, udp: true }];
