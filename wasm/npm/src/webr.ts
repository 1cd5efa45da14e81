/**
 * Sockets for webR, as it comes from npm: R's `socketConnection()` and what is made of it, through a tunnel.
 *
 * @example
 * import { connect } from "webtun";
 * import { installWebR } from "webtun/webr";
 * const uninstall = installWebR(await connect("wss://gateway.example/"));
 * const webR = new WebR();
 * await webR.init();
 *
 * @module
 */
import { webrPrelude } from "../generated/webr.js";
import type { Network } from "./network.js";
import { serveDownloads } from "./webr/download.js";
import type { Downloads } from "./webr/prelude.js";

/** Options of {@link installWebR}. */
export interface WebROptions {
  /**
   * Whether R's `url()` and `download.file()` go through the tunnel, too, which needs its option `http`. By default they
   * are requests of the browser.
   */
  downloads?: boolean | undefined;
  /** How URLs begin that are the browser's all the same; by default those of the page and of webR's own servers. */
  direct?: readonly string[] | undefined;
  /** Which Workers are webR's; by default those whose script is called `webr-worker.js`. */
  isWebR?: ((url: string) => boolean) | undefined;
}

function isWebRWorker(url: string): boolean {
  return /\/webr-worker\.js([?#]|$)/.test(url);
}

/** From where webR loads its parts and packages. */
function ownServers(): string[] {
  return [`${location.origin}/`, "https://webr.r-wasm.org/", "https://repo.r-wasm.org/"];
}

/**
 * Gives R the tunnel. Call it before `new WebR()`, in a page that is cross-origin isolated; the Worker that webR starts
 * then is R's.
 *
 * @param net - a tunnel of this thread
 * @param target - where webR looks for `Worker`: `globalThis`, as a rule
 * @returns a function that puts back what was there before; a webR that has started keeps its network
 * @throws Error where there is no shared memory
 */
export function installWebR(
  net: Pick<Network, "attach" | "fetch">,
  { isWebR = isWebRWorker, downloads = false, direct = ownServers() }: WebROptions = {},
  target: { Worker: typeof Worker } = globalThis,
): () => void {
  if (typeof SharedArrayBuffer === "undefined") {
    throw new Error(
      "installWebR(): there is no SharedArrayBuffer. Serve the page with the headers " +
        "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp",
    );
  }
  const before = target.Worker;
  class WebRWorker extends before {
    constructor(script: string | URL, options?: WorkerOptions) {
      const { href } = new URL(script, location.href);
      if (!isWebR(href)) {
        super(script, options);
        return;
      }
      const parts = [webrPrelude, `\nimportScripts(${JSON.stringify(href)});`];
      super(URL.createObjectURL(new Blob(parts, { type: "text/javascript" })), options);
      net.attach(this);
      if (!downloads) return;
      const given: Downloads = { ...serveDownloads(net.fetch), direct };
      this.postMessage({ webtunDownloads: given }, [given.port]);
    }
  }
  target.Worker = WebRWorker;
  return () => {
    target.Worker = before;
  };
}
