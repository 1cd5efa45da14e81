/** `openEthernet()`: the same for all platforms, which differ in how they find the WebAssembly. */
import { gatewayUrl, tokenOf, wasmOf, type WasmSource } from "../connect.js";
import { compile } from "../engine/compile.js";
import type { WebSocketFactory } from "../engine/transport.js";
import type { EngineConfig } from "../link/protocol.js";
import { Bindings } from "./bindings.js";
import type { StackWasm } from "./join.js";
import { Ethernet } from "./segment.js";

/** Options of {@link openEthernet}. */
export interface EthernetOptions {
  /** The bearer token that the gateway asks for. */
  token?: string | undefined;
  /**
   * The longest IP packet of a frame, 1280 to 65000; 1500 when not given. Guests hear it by DHCP and by router
   * advertisements; v86 wants it as `net_device.mtu`, too. Larger ones are faster: the gateway cuts what it sends on.
   */
  mtu?: number | undefined;
  /** `"container2wasm"` gives the guest 192.168.127.3, as that program's images expect; `"plain"` when not given. */
  profile?: "plain" | "container2wasm" | undefined;
  /** Only where the default place of the WebAssembly file does not fit. */
  wasm?: WasmSource | undefined;
}

/** Makes a segment; see {@link makeOpenEthernet}. */
export type OpenEthernet = (url: string | URL, options?: EthernetOptions) => Promise<Ethernet>;

/** What an entry point supplies. */
export interface EthernetPlatform {
  wasm(): NonNullable<EngineConfig["wasm"]> | Promise<NonNullable<EngineConfig["wasm"]>>;
  /** Where the stack's WebAssembly is, for `join`. */
  stackWasm: StackWasm;
  webSocket(): WebSocketFactory | Promise<WebSocketFactory>;
}

/** Makes the `openEthernet` of an entry point. */
export function makeOpenEthernet(platform: EthernetPlatform): OpenEthernet {
  return async (url, options = {}) => {
    const { mtu = 1500, profile = "plain" } = options;
    if (!Number.isInteger(mtu) || mtu < 1280 || mtu > 65000) throw new TypeError("an MTU is 1280 to 65000");
    const gateway = { url: gatewayUrl(url), token: tokenOf(options.token) };
    const module = await compile(wasmOf(options.wasm) ?? (await platform.wasm()));
    const seed = crypto.getRandomValues(new Uint8Array(32));
    const bindings = new Bindings(module, seed, mtu, profile === "container2wasm", () => performance.now());
    return new Ethernet(bindings, gateway, await platform.webSocket(), platform.stackWasm);
  };
}
