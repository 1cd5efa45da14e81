// The harness's own client for Wisp, at our door.
export { open } from "/b/clients/wispjs.mjs";
