// That of epoxy-tls, which takes the authority among its options.
import { secured } from "./tls-address.mjs";

const EPOXY = "/nm/epoxy2/full/";

export async function open({ url, roots }) {
  const epoxy = await import(`${EPOXY}epoxy.js`);
  await epoxy.default({ module_or_path: `${EPOXY}epoxy.wasm` });
  const options = new epoxy.EpoxyClientOptions();
  options.pem_files = [roots];
  const client = new epoxy.EpoxyClient(url, options);
  return { fetch: (address, init) => client.fetch(secured(address), init ?? {}), close: () => client.free() };
}
