/**
 * Runs in webR's Worker before R: puts blocking sockets in the place of those that R was linked with, where it
 * imports them. R's script is a classic one, so its file system and memory are global.
 */
import { Errno } from "../posix/errno.js";
import type { Attachment } from "../posix/layout.js";
import type { Task } from "../emscripten/control.js";
import type { FileSystem } from "../emscripten/environment.js";
import { Runtime } from "../emscripten/runtime.js";
import { download, type Download, type DownloadPort } from "./download.js";

/** What R's script defines. */
interface Globals {
  readonly FS: FileSystem;
  readonly DNS: { lookup_addr(address: string): string | null };
  readonly HEAPU8: Uint8Array;
  readonly Module: { downloadFileContent?: DownloadFileContent };
  _malloc(size: number): number;
}

/** By what R's `url()` and `download.file()` are made. A header is `Name: value`. */
type DownloadFileContent = (url: string, headers?: string[], ...rest: unknown[]) => Download;

/** Downloads through the tunnel, and the beginnings of the URLs that are not for it. */
export interface Downloads extends DownloadPort {
  readonly direct: readonly string[];
}

type Call = (...parameters: number[]) => number;

const AF_INET = 2;
/** Octets of a name and of the address that is found for it. */
const NAME = 256;
const ADDRESS = 28;

const globals = globalThis as unknown as Globals;
let attachment: Attachment | undefined;
let downloads: Downloads | undefined;
let runtime: Runtime | undefined;
let scratch = 0;

addEventListener("message", ({ data }: MessageEvent) => {
  const given = data as { webtun?: Attachment; webtunDownloads?: Downloads } | null;
  attachment ??= given?.webtun;
  downloads ??= given?.webtunDownloads;
});

function posix(): Runtime {
  if (runtime !== undefined) return runtime;
  runtime = new Runtime({
    FS: globals.FS,
    module: { webtun: attachment },
    heap: () => globals.HEAPU8,
    warn: (text) => console.warn(`webtun: ${text}`),
    addRunDependency: () => {},
    removeRunDependency: () => {},
  });
  runtime.start();
  return runtime;
}

function view(): DataView {
  return new DataView(globals.HEAPU8.buffer);
}

/** Room for one `struct iovec`, then for a name, then for an address. */
function room(): number {
  scratch ||= globals._malloc(8 + NAME + ADDRESS);
  return scratch;
}

function vector(at: number, length: number): number {
  view().setUint32(room(), at, true);
  view().setUint32(room() + 4, length, true);
  return room();
}

function block(call: (runtime: Runtime) => Task<number>): number {
  return posix().block(call(posix()));
}

/** R's own resolver makes addresses up and remembers what they stand for: here the real one takes their place. */
function lookUp(at: number): number {
  const heap = globals.HEAPU8;
  if (view().getUint16(at, true) !== AF_INET) return 0;
  const name = globals.DNS.lookup_addr(heap.slice(at + 4, at + 8).join("."));
  if (name === null || name === undefined) return 0;
  const octets = new TextEncoder().encode(name).slice(0, NAME);
  const [text, found] = [room() + 8, room() + 8 + NAME];
  heap.set(octets, text);
  const count = block((runtime) => runtime.resolve(text, octets.length, AF_INET, found, 1));
  if (count <= 0) return -Errno.EHOSTUNREACH;
  globals.HEAPU8.copyWithin(at + 4, found + 4, found + 8);
  return 0;
}

/** By the names of R's imports; the second argument is what R was linked with. */
const CALLS: Record<string, (original: Call) => Call> = {
  __syscall_socket: () => (family = 0, type = 0, protocol = 0) => posix().socket(family, type, protocol),
  __syscall_connect: () => (fd = 0, at = 0, length = 0) => lookUp(at) || block((runtime) => runtime.connect(fd, at, length)),
  __syscall_bind: () => (fd = 0, at = 0, length = 0) => block((runtime) => runtime.bind(fd, at, length)),
  __syscall_listen: () => (fd = 0, backlog = 0) => block((runtime) => runtime.listen(fd, backlog)),
  __syscall_accept4: () => (fd = 0, at = 0, lengthAt = 0, flags = 0) => block((runtime) => runtime.accept(fd, at, lengthAt, flags)),
  __syscall_getsockname: () => (fd = 0, at = 0, lengthAt = 0) => posix().name(fd, 0, at, lengthAt),
  __syscall_getpeername: () => (fd = 0, at = 0, lengthAt = 0) => posix().name(fd, 1, at, lengthAt),
  __syscall_getsockopt: () => (fd = 0, level = 0, name = 0, at = 0, lengthAt = 0) =>
    posix().getsockopt(fd, level, name, at, lengthAt),
  __syscall_sendto: () => (fd = 0, at = 0, length = 0, flags = 0, to = 0, toLength = 0) =>
    block((runtime) => runtime.send(fd, vector(at, length), 1, flags, to, toLength)),
  __syscall_recvfrom: () => (fd = 0, at = 0, length = 0, flags = 0, from = 0, fromLength = 0) =>
    block((runtime) => runtime.receive(fd, vector(at, length), 1, flags, from, fromLength, 0)),
  __syscall_poll: () => (at = 0, count = 0, timeout = 0) => block((runtime) => runtime.poll(at, count, timeout)),
  __syscall_fcntl64: (original) => (fd = 0, command = 0, varargs = 0) =>
    isSocket(fd) ? posix().fcntl(fd, command, argument(varargs)) : original(fd, command, varargs),
  __syscall_ioctl: (original) => (fd = 0, request = 0, varargs = 0) =>
    isSocket(fd) ? posix().ioctl(fd, request, argument(varargs)) : original(fd, request, varargs),
};

function isSocket(fd: number): boolean {
  return globals.FS.getStream(fd)?.socket !== undefined;
}

function argument(varargs: number): number {
  return varargs === 0 ? 0 : view().getInt32(varargs, true);
}

/** As webR's own, which is in place by now: what cannot be had has the status 400. */
function replaceDownloads(): void {
  const { Module } = globals;
  const original = Module.downloadFileContent;
  if (original === undefined) return;
  Module.downloadFileContent = (url, headers = [], ...rest) => {
    const given = downloads;
    if (given === undefined || !/^https?:/.test(url) || given.direct.some((begin) => url.startsWith(begin))) {
      return original(url, headers, ...rest);
    }
    try {
      const fields = headers.map((header): [string, string] => {
        const at = header.indexOf(": ");
        return [header.slice(0, at), header.slice(at + 2)];
      });
      return download(given, url, fields);
    } catch (error) {
      console.error(`webtun: ${String(error)}`);
      return { status: 400, response: String(error) };
    }
  };
}

/** Imports with our calls in them; those of other modules as they are. */
function patched(imports: WebAssembly.Imports | undefined): WebAssembly.Imports | undefined {
  const env = imports?.["env"] as Record<string, unknown> | undefined;
  if (imports === undefined || typeof env?.["__syscall_socket"] !== "function") return imports;
  replaceDownloads();
  const own: Record<string, unknown> = {};
  for (const [name, make] of Object.entries(CALLS)) {
    const original = env[name];
    if (typeof original === "function") own[name] = make(original as Call);
  }
  const both = new Proxy(env, { get: (target, name) => own[name as string] ?? target[name as string] });
  return { ...imports, env: both as WebAssembly.ModuleImports };
}

type Instantiate = (source: never, imports?: WebAssembly.Imports) => unknown;

for (const name of ["instantiate", "instantiateStreaming"] as const) {
  const original: Instantiate = WebAssembly[name];
  const value: Instantiate = (source, imports) => original.call(WebAssembly, source, patched(imports));
  Object.defineProperty(WebAssembly, name, { value, configurable: true, writable: true });
}
