/**
 * Sockets for Pyodide, as it comes from npm: `socket`, `urllib`, `http.client` and `ssl` through a tunnel.
 *
 * @example
 * import { connect } from "webtun";
 * import { tls } from "webtun/tls";
 * import { usePyodide } from "webtun/pyodide";
 * const pyodide = await loadPyodide();
 * await usePyodide(pyodide, await connect("wss://gateway.example/", { tls }));
 * await pyodide.runPythonAsync("import urllib.request as u; u.urlopen('https://example.org/').read()");
 *
 * @module
 */
import { errorCode, wordsOf } from "./errors.js";
import type { Network } from "./network.js";
import type { ConnectSocketOptions, Socket, SocketAddress } from "./wintertc.js";

/** The parts of Pyodide that are used; its own types fit. */
export interface PyodideLike {
  readonly FS: { getStream(fd: number): unknown };
  runPythonAsync(code: string): Promise<unknown>;
  registerJsModule(name: string, module: object): void;
}

/** What it keeps to itself. */
interface Internals {
  readonly _api?: {
    initializeNodeSockFS?(connect: (address: SocketAddress, options: ConnectSocketOptions) => Socket): Promise<void>;
    readonly _nodeSock?: { startTls(fd: number): Promise<number> };
  };
}

/** Options of {@link usePyodide}. */
export interface PyodideOptions {
  /** Certificates in PEM that `ssl` trusts instead of Mozilla's. */
  roots?: string | undefined;
}

/** Pyodide begins TLS without a word about the name, and takes a failed handshake for the end of the data. */
const PATCH = `
import ssl
from pyodide.ffi import run_sync
import _webtun

def do_handshake(self, block=False):
    failure = run_sync(_webtun.start_tls(self.fileno(), self._server_hostname))
    if failure is not None:
        certificate = failure.startswith(("CERT_", "ERR_TLS_CERT", "UNABLE_TO_GET_ISSUER"))
        raise (ssl.SSLCertVerificationError if certificate else ssl.SSLError)(1, failure)

ssl.SSLSocket.do_handshake = do_handshake
del do_handshake
`;

/** Names that are asked for by the next TLS of a socket. */
const names = new WeakMap<object, string>();

/** A socket in whose TLS Python has a say. */
function wrapped(socket: Socket, roots: string | undefined): Socket {
  const own: Socket = {
    get readable() {
      return socket.readable;
    },
    get writable() {
      return socket.writable;
    },
    opened: socket.opened,
    closed: socket.closed,
    upgraded: socket.upgraded,
    secureTransport: socket.secureTransport,
    close: () => socket.close(),
    startTls: () => wrapped(socket.startTls({ sni: names.get(own), roots }), roots),
  };
  return own;
}

/** The socket of the tunnel behind a descriptor. */
function socketOf(pyodide: PyodideLike, fd: number): Socket | undefined {
  const stream = pyodide.FS.getStream(fd) as { node?: { sock?: { wcgSocket?: Socket | null } } } | undefined;
  return stream?.node?.sock?.wcgSocket ?? undefined;
}

/** Resolves with nothing, or with why there is no TLS. */
async function startTls(
  pyodide: PyodideLike,
  begin: (fd: number) => Promise<number>,
  fd: number,
  name: string | undefined,
): Promise<string | undefined> {
  try {
    const plain = socketOf(pyodide, fd);
    if (plain !== undefined && typeof name === "string") names.set(plain, name);
    const result = await begin(fd);
    if (result < 0) return `EPROTO: TLS cannot begin on this socket (errno ${-result})`;
    await socketOf(pyodide, fd)?.opened;
    return undefined;
  } catch (error) {
    return `${errorCode(error) ?? "EPROTO"}: ${wordsOf(error)}`;
  }
}

/**
 * Gives Python the tunnel. Call it once, before the first socket; blocking calls work in code that is run by
 * `runPythonAsync`, in a browser with JSPI.
 *
 * @param pyodide - what `loadPyodide` has given
 * @param net - a tunnel in the same thread; for `ssl`, with the option `tls`
 * @throws Error where this Pyodide has no sockets (before version 314), or the browser no JSPI
 */
export async function usePyodide(
  pyodide: PyodideLike,
  net: Pick<Network, "connect">,
  { roots }: PyodideOptions = {},
): Promise<void> {
  if (!("Suspending" in WebAssembly)) {
    throw new Error("blocking sockets in Pyodide need JSPI (WebAssembly.Suspending), which this browser does not have");
  }
  const { _api } = pyodide as Internals;
  if (_api?.initializeNodeSockFS === undefined) throw new Error("this Pyodide has no sockets; version 314 or later has");
  await _api.initializeNodeSockFS((address, options) => wrapped(net.connect(address, options), roots));
  const begin = (fd: number): Promise<number> => _api._nodeSock?.startTls(fd) ?? Promise.resolve(-138);
  const module = { start_tls: (fd: number, name?: string) => startTls(pyodide, begin, fd, name) };
  pyodide.registerJsModule("_webtun", module);
  await pyodide.runPythonAsync(PATCH);
}
