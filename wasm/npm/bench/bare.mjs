// What ours is compared with, as the harness wants a tunnel: connections and datagrams by way of `bench_relay`, or datagrams that
// are messages which the harness's own server sends back. The same path has both, since that server looks no further than `echo`.
import { openBare } from "/client/bare.mjs";

export function open({ url }) {
  return {
    connect: (host, port) => openBare(`${url}/${host}/${port}`),
    udp: (host, port) => openBare(`${url}/echo/${host}/${port}`),
    close() {},
  };
}
