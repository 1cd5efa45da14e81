/** What a fetch is asked for, in the form in which it can be sent, and sent again after a redirect. */
import { octetsOf } from "../streams.js";
import { NO_BODY, UNKNOWN_LENGTH } from "./engine.js";
import type { FetchInit } from "./layer.js";

/** Octets of a body without a known end that are looked at to find its length. */
const PEEK = 64 * 1024;

/** The body of a request. */
export interface RequestBody {
  readonly length: number;
  /** A stream of it; again where it can be sent again. */
  open(): ReadableStream<Uint8Array> | undefined;
  readonly repeatable: boolean;
}

/** A request as a program means it. */
export interface Wanted {
  readonly url: URL;
  readonly method: string;
  readonly headers: Headers;
  readonly body: RequestBody;
  readonly redirect: RequestRedirect;
  readonly signal: AbortSignal;
}

/** Of requests that came without one. */
const NO_SIGNAL = new AbortController().signal;

/** No body. */
export const NOTHING: RequestBody = { length: NO_BODY, open: () => undefined, repeatable: true };

function wholeBody(octets: Uint8Array): RequestBody {
  const open = (): ReadableStream<Uint8Array> => {
    let rest = octets;
    return new ReadableStream(
      {
        pull(controller) {
          if (rest.byteLength > 0) controller.enqueue(rest);
          rest = rest.subarray(rest.byteLength);
          controller.close();
        },
      },
      { highWaterMark: 0 },
    );
  };
  return { length: octets.byteLength, open, repeatable: true };
}

function streamBody(stream: ReadableStream<Uint8Array>, length = UNKNOWN_LENGTH): RequestBody {
  return { length, open: () => stream, repeatable: false };
}

/** A body whose source is not known any more: a short one gets a length, as servers like it. */
async function peekedBody(stream: ReadableStream<Uint8Array>): Promise<RequestBody> {
  const reader = stream.getReader();
  const seen: Uint8Array[] = [];
  let length = 0;
  while (length < PEEK) {
    const { value, done } = await reader.read();
    if (done) return wholeBody(new Uint8Array(await new Blob(seen as BlobPart[]).arrayBuffer()));
    seen.push(octetsOf(value));
    length += value.byteLength;
  }
  const whole = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const first = seen.shift();
        if (first !== undefined) return controller.enqueue(first);
        const { value, done } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(octetsOf(value));
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
  return streamBody(whole);
}

async function bodyOf(request: Request, source: unknown): Promise<RequestBody> {
  if (request.method === "GET" || request.method === "HEAD") return NOTHING;
  // Octets need no copy; the request has made sure of their kind.
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return wholeBody(octetsOf(source));
  if (source instanceof Blob) {
    return { length: source.size, open: () => source.stream(), repeatable: true };
  }
  if (request.body === null) return { length: 0, open: () => undefined, repeatable: true };
  if (source instanceof ReadableStream && request.body !== undefined) return streamBody(request.body);
  // Some browsers know bodies of requests as a whole only.
  if (source != null || request.body === undefined) return wholeBody(new Uint8Array(await request.arrayBuffer()));
  return peekedBody(request.body);
}

/** What every request has that says nothing else. */
function completed(headers: Headers): Headers {
  if (!headers.has("accept")) headers.set("accept", "*/*");
  if (!headers.has("accept-encoding")) headers.set("accept-encoding", "gzip, deflate");
  return headers;
}

/** Fields that a page's Request does not take, but a server may want: Cookie, Host, Origin and such. */
function headersOf(request: Request, init: FetchInit): Headers {
  const headers = new Headers(request.headers);
  for (const [name, value] of new Headers(init.headers)) headers.set(name, value);
  // What says where a body ends is for the connection to say.
  for (const name of ["content-length", "transfer-encoding", "connection", "keep-alive", "upgrade"]) headers.delete(name);
  return completed(headers);
}

/** A URL and nothing else, as most ask: the platform's Request would take as long as the stack takes to send it. */
function plain(input: string | URL, signal: AbortSignal | null | undefined): Wanted | undefined {
  const base = typeof document === "undefined" ? globalThis.location?.href : document.baseURI;
  const url = new URL(input, base);
  // The platform has its own words for this.
  if (url.username !== "" || url.password !== "") return undefined;
  const headers = completed(new Headers());
  return { url, method: "GET", headers, body: NOTHING, redirect: "follow", signal: signal ?? NO_SIGNAL };
}

function checked(wanted: Wanted): Wanted {
  const { url } = wanted;
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new TypeError(`${url.protocol} is not fetched through the tunnel; http: and https: are`);
  }
  url.hash = "";
  return wanted;
}

/**
 * Reads what `fetch` was given, by the platform's own rules.
 *
 * @throws TypeError where the platform does, and for a URL that is not http: or https:
 */
export async function wantedOf(input: RequestInfo | URL, init: FetchInit): Promise<Wanted> {
  const { onprogress: _, roots: __, ...rest } = init;
  const { signal, ...more } = rest;
  const isPlain = (typeof input === "string" || input instanceof URL) && Object.keys(more).length === 0;
  const wanted = isPlain ? plain(input, signal) : undefined;
  if (wanted !== undefined) return checked(wanted);
  // The body is not handed on where the platform would only copy it.
  const octets = init.body instanceof ArrayBuffer || ArrayBuffer.isView(init.body);
  const request = new Request(input, (octets ? { ...rest, body: "" } : rest) as RequestInit);
  const url = new URL(request.url);
  const headers = headersOf(request, init);
  if (octets && !new Headers(init.headers).has("content-type")) headers.delete("content-type");
  const body = await bodyOf(request, init.body);
  return checked({ url, method: request.method, headers, body, redirect: request.redirect, signal: request.signal });
}
