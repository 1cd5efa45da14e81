/** HTTP as a part that a program brings along: the entries of the package know it by this interface alone. */
import type { ConnectSocketOptions, Socket, SocketAddress } from "../wintertc.js";

/** How far a transfer is. */
export interface FetchProgress {
  readonly direction: "upload" | "download";
  /** Octets of the body so far; of a compressed one, as they come over the network. */
  readonly loaded: number;
  /** Octets of the whole body, where that is known. */
  readonly total: number | undefined;
}

/** What the tunnel's fetch takes beside the platform's options. */
export interface FetchInit extends RequestInit {
  /** Certificates in PEM that are trusted instead of Mozilla's. */
  roots?: string | undefined;
  /** Called for each chunk of either body. */
  onprogress?: ((progress: FetchProgress) => void) | undefined;
  /** For a body that is a stream. */
  duplex?: "half" | undefined;
}

/** The platform's `fetch`, through a tunnel. */
export type Fetch = (input: RequestInfo | URL, init?: FetchInit) => Promise<Response>;

/** Opens the connections of a fetch. */
export type Dial = (address: SocketAddress, options: ConnectSocketOptions) => Socket;

/** Made by `webtun/http`, for the option `http` of `connect`. */
export interface HttpLayer {
  /** A fetch with connections of its own. */
  over(dial: Dial): Fetch;
}
