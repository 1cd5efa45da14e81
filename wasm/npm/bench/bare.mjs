// What ours is compared with, as the harness wants a tunnel: connections by way of `bench_relay`, and datagrams that are
// messages which the harness's own server sends back.
import { openBare } from "/client/bare.mjs";

export function open({ url }) {
  return {
    connect: (host, port) => openBare(`${url}/${host}/${port}`),
    udp: () => openBare(`${url}/echo/`),
    close() {},
  };
}
