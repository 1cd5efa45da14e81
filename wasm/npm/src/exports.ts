/** What all entry points export besides `connect`. */
export type { Endpoint, IpFamily } from "./address.js";
export type { Connect, ConnectOptions, WasmSource } from "./connect.js";
export type * from "./direct-sockets/types.js";
export type { PingReply } from "./engine/names.js";
export { errorCode, type ErrorCode, type Failure, type SocketErrorCause } from "./errors.js";
export type { Fetch, FetchInit, FetchProgress, HttpLayer } from "./http/layer.js";
export type { ExternalPorts, TunnelCounters, TunnelLease, TunnelState } from "./link/protocol.js";
export type { Network, PingOptions, ResolveOptions, TraceListener } from "./network.js";
export type { ProgramWorker } from "./program.js";
export type { NetworkStatus, NetworkStatusEventMap, Rates } from "./status.js";
export type { TlsLayer } from "./tls/layer.js";
export type { TlsOptions } from "./tls/options.js";
export type { ConnectSocketOptions, Socket, SocketAddress, SocketInfo } from "./wintertc.js";
