// Where HTTPS is served, as the servers and the page both see it.

/** The port of the harness's HTTP server, from its first one. */
export const HTTP = 5;
/** The port of TLS, from that one. */
export const SHIFT = 1000;

/** The address of HTTPS for one of HTTP. */
export function secured(address) {
  const url = new URL(address);
  return `https://${url.hostname}:${Number(url.port) + SHIFT}${url.pathname}${url.search}`;
}
