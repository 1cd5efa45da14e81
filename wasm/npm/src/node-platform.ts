/** What Node has in place of a browser's WebSocket and fetch. */
import { readFile } from "node:fs/promises";
import { openPlatformWebSocket } from "./engine/in-place.js";
import { MAX_MESSAGE_LENGTH, type WebSocketFactory, type WebSocketLike } from "./engine/transport.js";
import { failure, type Failure } from "./errors.js";

function refusal(status: number | undefined): Failure {
  switch (status) {
    case 401:
      return failure("EACCES", "the gateway asks for a token, or does not accept this one");
    case 403:
      return failure("EACCES", "the gateway does not allow this origin");
    default:
      return failure("ECONNREFUSED", `the gateway answered ${status ?? "nonsense"}`);
  }
}

function unreachable(error: Error & { code?: string }): Failure {
  const message = `the gateway cannot be reached: ${error.message || error.code || "unknown"}`;
  return failure(error.code === "ENOTFOUND" ? "ENOTFOUND" : "ECONNREFUSED", message);
}

/** The WebSocket of the package `ws`, or the platform's where that is not installed. */
export async function webSocketFactory(): Promise<WebSocketFactory> {
  const ws = await import("ws").catch(() => undefined);
  if (ws === undefined) {
    if (typeof WebSocket === "undefined") throw new Error("install the package ws, or use Node 22");
    return openPlatformWebSocket;
  }
  return (url, protocols, onrefused) => {
    const socket = new ws.WebSocket(url, protocols, {
      perMessageDeflate: false,
      maxPayload: MAX_MESSAGE_LENGTH,
      handshakeTimeout: 15_000,
    });
    socket.on("unexpected-response", (_request, response) => {
      onrefused(refusal(response.statusCode));
      socket.close();
    });
    socket.on("error", (error) => onrefused(unreachable(error)));
    // `ws` may keep the view until the kernel takes it, but the next call into the stack overwrites what it shows.
    const send = socket.send.bind(socket);
    socket.send = ((data: Uint8Array) => send(data.slice())) as typeof socket.send;
    return socket as unknown as WebSocketLike;
  };
}

/** The octets of a file. */
export async function readOctets(url: URL): Promise<ArrayBuffer> {
  const file = await readFile(url);
  return file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength) as ArrayBuffer;
}
