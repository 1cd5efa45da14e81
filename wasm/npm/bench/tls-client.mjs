// The tunnel's fetch over TLS.
import { connectEndToEnd, openTunnel } from "./client.mjs";
import { secured } from "./tls-address.mjs";

export async function open({ url, roots }) {
  const { tls } = await import("/webtun/tls.js");
  const tunnel = await openTunnel(url, connectEndToEnd, { tls });
  return { ...tunnel, fetch: (address, init) => tunnel.fetch(secured(address), { ...init, roots }) };
}
