/** `fetch`: the platform's Request and Response around exchanges of the pool. */
import type { Incoming, Outgoing } from "./exchange.js";
import type { Fetch, FetchInit, FetchProgress } from "./layer.js";
import type { Pool } from "./pool.js";
import { NOTHING, wantedOf, type Wanted } from "./request.js";
import { responseOf } from "./response.js";

/** As the Fetch standard has it. */
const MAX_REDIRECTS = 20;
/** Octets of a redirect's own body that are read so that its connection can be used again. */
const DRAIN = 64 * 1024;

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** Fields about a body that is dropped. */
const BODY_FIELDS = ["content-encoding", "content-language", "content-location", "content-type"];
/** Fields that are not for another origin. */
const PRIVATE_FIELDS = ["authorization", "cookie", "host", "proxy-authorization"];

/** A failure of the network, in the shape that programs of `fetch` expect; `code` and `cause` tell more. */
function networkError(error: unknown, url: URL): unknown {
  if (!(error instanceof DOMException) || error.name === "AbortError" || error.name === "TimeoutError") return error;
  const wrapped = new TypeError(`fetch ${url.href}: ${error.message}`, { cause: error });
  const { code } = error as { code: unknown };
  if (typeof code === "string") Object.defineProperty(wrapped, "code", { value: code, configurable: true, enumerable: true });
  return wrapped;
}

/** The next request after a redirect (Fetch standard, HTTP-redirect fetch). */
function redirected(wanted: Wanted, { status }: Incoming, location: string): Wanted {
  let url: URL;
  try {
    url = new URL(location, wanted.url);
  } catch {
    throw new TypeError(`${wanted.url.href} redirects to "${location}", which is no URL`);
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new TypeError(`${wanted.url.href} redirects to ${url.protocol}, which is not followed`);
  }
  url.hash = "";
  const next = new Headers(wanted.headers);
  if (url.origin !== wanted.url.origin) for (const name of PRIVATE_FIELDS) next.delete(name);
  const post = (status === 301 || status === 302) && wanted.method === "POST";
  const other = status === 303 && wanted.method !== "GET" && wanted.method !== "HEAD";
  if (post || other) {
    for (const name of BODY_FIELDS) next.delete(name);
    return { ...wanted, url, method: "GET", headers: next, body: NOTHING };
  }
  if (!wanted.body.repeatable) throw new TypeError(`${wanted.url.href} redirects, and the body is a stream that is gone`);
  return { ...wanted, url, headers: next };
}

/** Reads the rest of a short body, and gives a long one up. */
async function drain(body: Incoming["body"]): Promise<void> {
  if (body instanceof Uint8Array) return;
  const reader = body.getReader();
  for (let read = 0; read < DRAIN; ) {
    const { value, done } = await reader.read();
    if (done) return;
    read += value.byteLength;
  }
  await reader.cancel();
}

function outgoing(wanted: Wanted, onprogress: ((progress: FetchProgress) => void) | undefined): Outgoing {
  const { url, method, headers, body, signal } = wanted;
  const total = body.length < 0 ? undefined : body.length;
  let loaded = 0;
  const onupload = (octets: number): void => {
    loaded += octets;
    onprogress?.({ direction: "upload", loaded, total });
  };
  return { url: url.href, method, headers, length: body.length, body: body.open(), signal, onupload };
}

function counter(incoming: Incoming, onprogress: ((progress: FetchProgress) => void) | undefined) {
  if (onprogress === undefined) return undefined;
  const length = incoming.headers.get("content-length");
  const total = length !== null && /^\d+$/.test(length) ? Number(length) : undefined;
  let loaded = 0;
  return (octets: number): void => {
    loaded += octets;
    onprogress({ direction: "download", loaded, total });
  };
}

/** Makes the fetch of one tunnel. */
export function makeFetch(pool: Pool): Fetch {
  return async (input, init: FetchInit = {}) => {
    const { onprogress, roots } = init;
    let wanted = await wantedOf(input, init);
    for (let redirects = 0; ; redirects++) {
      wanted.signal.throwIfAborted();
      const { url, method } = wanted;
      const incoming = await pool.send(url, outgoing(wanted, onprogress), roots).catch((error: unknown) => {
        throw networkError(error, url);
      });
      const location = REDIRECTS.has(incoming.status) ? incoming.headers.get("location") : null;
      if (location === null || wanted.redirect === "manual") {
        return responseOf(incoming, { url, method, redirected: redirects > 0, onchunk: counter(incoming, onprogress) });
      }
      drain(incoming.body).catch(() => {});
      if (wanted.redirect === "error") throw new TypeError(`${url.href} redirects to ${location}`);
      if (redirects === MAX_REDIRECTS) throw new TypeError(`${url.href} redirects once too often`);
      wanted = redirected(wanted, incoming, location);
    }
  };
}
