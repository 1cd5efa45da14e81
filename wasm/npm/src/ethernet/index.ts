/** What both entries of `webtun/ethernet` export besides `openEthernet`. */
export type { Endpoint, IpFamily } from "../address.js";
export type { WasmSource } from "../connect.js";
export { errorCode, type ErrorCode } from "../errors.js";
export type { TunnelLease } from "../link/protocol.js";
export type { Network } from "../network.js";
export type { JoinOptions } from "./join.js";
export type { MappedPort, MapPortOptions } from "./mapped-port.js";
export type { EthernetOptions, OpenEthernet } from "./open.js";
export type { EthernetPort, NetworkCard } from "./port.js";
export { relayWebSocket, type RelayOptions } from "./relay.js";
export type { Ethernet, EthernetEventMap, Guest } from "./segment.js";
