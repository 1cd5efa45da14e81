/** Makes the platform's Response of what has come. */
import type { Incoming } from "./exchange.js";

const WITHOUT_BODY = new Set([101, 103, 204, 205, 304]);

/** Undoes a coding that the platform knows; any other is left to the program. */
function decoded(body: ReadableStream<Uint8Array<ArrayBuffer>>, coding: string): ReadableStream<Uint8Array<ArrayBuffer>> {
  switch (coding.trim().toLowerCase()) {
    case "gzip":
    case "x-gzip":
      return body.pipeThrough(new DecompressionStream("gzip"));
    case "deflate":
      return body.pipeThrough(new DecompressionStream("deflate"));
    default:
      return body;
  }
}

function counted(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  onchunk: (octets: number) => void,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const count = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
    transform(chunk, controller) {
      onchunk(chunk.byteLength);
      controller.enqueue(chunk);
    },
  });
  return body.pipeThrough(count);
}

function streamOf(body: Incoming["body"]): ReadableStream<Uint8Array<ArrayBuffer>> {
  if (body instanceof ReadableStream) return body;
  return new ReadableStream({
    start(controller) {
      controller.enqueue(body);
      controller.close();
    },
  });
}

/** What a response is about. */
export interface Asked {
  readonly url: URL;
  readonly method: string;
  readonly redirected: boolean;
  /** Told of the octets of each chunk. */
  readonly onchunk: ((octets: number) => void) | undefined;
}

/** The response to `asked`. */
export function responseOf({ status, headers, body }: Incoming, asked: Asked): Response {
  const empty = asked.method === "HEAD" || WITHOUT_BODY.has(status);
  const codings = headers.get("content-encoding")?.split(",") ?? [];
  let content = empty ? null : body;
  if (content !== null && (asked.onchunk !== undefined || codings.length > 0)) {
    let stream = streamOf(content);
    if (asked.onchunk !== undefined) stream = counted(stream, asked.onchunk);
    content = codings.reduceRight(decoded, stream);
  }
  const response = new Response(content, { status, headers });
  const own = {
    url: asked.url.href,
    redirected: asked.redirected,
    // Those of the constructor lack Set-Cookie.
    headers,
  };
  for (const [name, value] of Object.entries(own)) Object.defineProperty(response, name, { value, configurable: true });
  return response;
}
