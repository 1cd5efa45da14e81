/**
 * How R's `url()` and `download.file()` get a page: R's thread asks by a port and sleeps, the page's thread fetches and
 * fills shared memory piece by piece.
 */
import type { Fetch } from "../http/layer.js";

/** Words at the beginning of the shared memory. */
const enum Word {
  State = 0,
  Length = 1,
}

const enum State {
  Waiting = 0,
  Head = 1,
  Piece = 2,
  End = 3,
  Failed = 4,
}

const PREFIX = 8;
/** Octets that cross at once. */
const ROOM = 1024 * 1024;

/** What R's thread is given. */
export interface DownloadPort {
  readonly memory: SharedArrayBuffer;
  readonly port: MessagePort;
}

/** What webR's own function gives R. */
export interface Download {
  readonly status: number;
  readonly response: ArrayBuffer | string;
}

/** Answers on the page's side; returns what R's side gets. */
export function serveDownloads(fetch: Fetch): DownloadPort {
  const memory = new SharedArrayBuffer(PREFIX + ROOM);
  const words = new Int32Array(memory, 0, 2);
  const room = new Uint8Array(memory, PREFIX);
  const { port1, port2 } = new MessageChannel();
  let taken: () => void = () => {};
  const say = (state: State, octets: Uint8Array): Promise<void> => {
    room.set(octets);
    words[Word.Length] = octets.byteLength;
    Atomics.store(words, Word.State, state);
    Atomics.notify(words, Word.State);
    return new Promise((resolve) => (taken = resolve));
  };
  const text = (value: string): Uint8Array => new TextEncoder().encode(value).subarray(0, ROOM);
  const serve = async (url: string, fields: [string, string][]): Promise<void> => {
    const response = await fetch(url, { headers: fields });
    await say(State.Head, text(String(response.status)));
    const reader = response.body?.getReader();
    for (;;) {
      const { value, done } = (await reader?.read()) ?? { value: undefined, done: true };
      if (done) break;
      for (let at = 0; at < value.byteLength; at += ROOM) await say(State.Piece, value.subarray(at, at + ROOM));
    }
    await say(State.End, text(""));
  };
  port1.onmessage = ({ data }: MessageEvent<{ url: string; fields: [string, string][] } | null>) => {
    if (data === null) return taken();
    serve(data.url, data.fields).catch((error: unknown) => say(State.Failed, text(String(error))));
  };
  return { memory, port: port2 };
}

/** Fetches in R's thread, which waits; throws where the page's fetch has failed. */
export function download({ memory, port }: DownloadPort, url: string, fields: [string, string][]): Download {
  const words = new Int32Array(memory, 0, 2);
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let status = 0;
  port.postMessage({ url, fields });
  for (;;) {
    Atomics.wait(words, Word.State, State.Waiting);
    const state = Atomics.load(words, Word.State) as State;
    const octets = new Uint8Array(memory, PREFIX, words[Word.Length]).slice();
    Atomics.store(words, Word.State, State.Waiting);
    port.postMessage(null);
    if (state === State.Failed) throw new Error(new TextDecoder().decode(octets));
    if (state === State.Head) status = Number(new TextDecoder().decode(octets));
    if (state === State.Piece) pieces.push(octets);
    if (state === State.End) break;
  }
  const whole = new Uint8Array(pieces.reduce((length, piece) => length + piece.byteLength, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.byteLength;
  }
  const good = status >= 200 && status < 300;
  return { status, response: good ? whole.buffer : new TextDecoder().decode(whole) };
}
