/** What a program says about a TLS connection. */
import { asciiName, stripBrackets } from "../address.js";

export interface TlsOptions {
  /** The name that is asked for (SNI) and that the certificate has to be for; by default the host name. */
  sni?: string | undefined;
  /** Protocols to offer (RFC 7301), the best first. */
  alpn?: readonly string[] | undefined;
  /** Certificates in PEM that are trusted instead of Mozilla's. */
  roots?: string | undefined;
}

/** The same, checked. */
export interface TlsParameters {
  readonly name: string;
  readonly alpn: readonly string[];
  readonly roots: string;
}

/**
 * Checks options.
 *
 * @throws TypeError where one cannot be sent
 */
export function tlsParameters(hostname: string, { sni, alpn = [], roots = "" }: TlsOptions): TlsParameters {
  const name = asciiName(stripBrackets(String(sni ?? hostname)));
  if (name === undefined) throw new TypeError(`"${String(sni ?? hostname)}" is not a host name`);
  const protocols = Array.from(alpn, String);
  // Its length travels in one octet.
  if (!protocols.every((protocol) => /^[\x21-\x7e]{1,255}$/.test(protocol))) {
    throw new TypeError("alpn is a list of protocol names, such as http/1.1");
  }
  return { name, alpn: protocols, roots: String(roots) };
}
