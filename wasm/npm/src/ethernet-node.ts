/**
 * Ethernet for virtual machines, in Node 20 and later.
 *
 * @module
 */
import { readOctets, webSocketFactory } from "./node-platform.js";
import { makeOpenEthernet, type OpenEthernet } from "./ethernet/open.js";

/** Makes an Ethernet segment whose guests have tunnels to this gateway; see the README. */
export const openEthernet: OpenEthernet = makeOpenEthernet({
  wasm: () => readOctets(new URL("./webtun_ethernet_bg.wasm", import.meta.url)),
  stackWasm: () => readOctets(new URL("./webtun_bg.wasm", import.meta.url)),
  webSocket: webSocketFactory,
});

export * from "./ethernet/index.js";
