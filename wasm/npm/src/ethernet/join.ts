/** The page as a host on a segment. Loaded when it is used. */
import { makeConnect, type ConnectOptions, type WasmSource } from "../connect.js";
import { openInPlace } from "../engine/in-place.js";
import type { EngineConfig } from "../link/protocol.js";
import type { Network } from "../network.js";
import type { PageSocket } from "./page-socket.js";

/** Options of `join`. */
export interface JoinOptions extends Pick<ConnectOptions, "tls" | "http" | "signal"> {
  /** The stack's WebAssembly, `webtun_bg.wasm`; only where the default place of the file does not fit. */
  wasm?: WasmSource | undefined;
}

/** Where the stack's WebAssembly is by default. */
export type StackWasm = () => NonNullable<EngineConfig["wasm"]> | Promise<NonNullable<EngineConfig["wasm"]>>;

/** Runs a stack in this thread whose tunnel ends at the segment. */
export function join(open: () => PageSocket, wasm: StackWasm, options: JoinOptions): Promise<Network> {
  const connect = makeConnect({ openChannel: (config) => openInPlace(config, wasm, open) });
  // The address is nobody's: the segment is in this thread, too.
  return connect("ws://segment.invalid/", options);
}
