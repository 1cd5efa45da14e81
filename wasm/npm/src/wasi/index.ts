/** What `webtun/wasi` has in browsers and in Node alike. */
export type { WasiOptions, WasiSockets } from "./sockets.js";
export type { Preview1Options, Preview1Program, WasiShim } from "./preview1/index.js";
export type { ByteOrder } from "./preview1/sockets.js";
export type { Interfaces, Preview2Options } from "./preview2/index.js";
