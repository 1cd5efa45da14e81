/**
 * Ethernet for virtual machines in a page.
 *
 * @example
 * import { openEthernet } from "webtun/ethernet";
 * const net = await openEthernet("wss://gateway.example/", { token: "..." });
 * net.plug({ onSend: (listener) => (emulator.onframe = listener), receive: (frame) => emulator.receive(frame) });
 *
 * @module
 */
import { openPlatformWebSocket } from "./engine/in-place.js";
import { makeOpenEthernet, type OpenEthernet } from "./ethernet/open.js";

/**
 * Makes an Ethernet segment whose guests have tunnels to this gateway. Resolves when cards can be plugged in; a tunnel is
 * opened when a card sends its first frame.
 *
 * @throws TypeError where the address, the token or the MTU is malformed
 */
export const openEthernet: OpenEthernet = makeOpenEthernet({
  wasm: () => new URL("./webtun_ethernet_bg.wasm", import.meta.url).href,
  stackWasm: () => new URL("./webtun_bg.wasm", import.meta.url).href,
  webSocket: () => openPlatformWebSocket,
});

export * from "./ethernet/index.js";
