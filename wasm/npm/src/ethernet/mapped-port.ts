/** Ports of guests that are reached from outside. */
import type { Endpoint, IpFamily } from "../address.js";
import { Deferred } from "../deferred.js";
import type { Failure } from "../errors.js";

/** Options of `mapPort`. */
export interface MapPortOptions {
  /** Of the mapped port; `"tcp"` when not given. */
  readonly protocol?: "tcp" | "udp" | undefined;
  /** MAC or IPv4 address of the guest; the only one when not given. */
  readonly guest?: string | undefined;
  /** The port wanted outside; any when not given. */
  readonly externalPort?: number | undefined;
  /** Family of the address outside; `"ipv4"` when not given. */
  readonly family?: IpFamily | undefined;
  /** Seconds for which the gateway keeps the port without hearing of it, 7200 when not given. It is renewed in time. */
  readonly lifetime?: number | undefined;
}

/** A guest's port that can be reached from outside. */
export interface MappedPort {
  /** Where; another one after the guest's session was lost. `undefined` while the gateway refuses to give one. */
  readonly external: Endpoint | undefined;
  /** Gives it back. */
  close(): void;
}

/** A port that was asked for. */
export class Mapping implements MappedPort {
  readonly #release: () => void;
  readonly #first = new Deferred<MappedPort>();
  #external: Endpoint | undefined;

  constructor(release: () => void) {
    this.#release = release;
  }

  /** Settles by the gateway's first answer; rejects with a {@link Failure}. */
  get first(): Promise<MappedPort> {
    return this.#first.promise;
  }

  get external(): Endpoint | undefined {
    return this.#external;
  }

  close(): void {
    this.#release();
  }

  /** What the gateway says. */
  answer(external: Endpoint | undefined, cause: Failure): void {
    this.#external = external;
    if (external === undefined) this.#first.reject(cause);
    else this.#first.resolve(this);
  }
}
