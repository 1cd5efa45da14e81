/** Opens a bound socket to the outside: its external port is part of what `opened` tells. */
import type { Endpoint } from "../address.js";
import type { ExternalRequest, Opened } from "../link/protocol.js";
import type { Context } from "./context.js";
import type { Callback } from "./names.js";

/**
 * Asks for the external port, if one is wanted, and answers once with what is known about the socket.
 *
 * @returns a function that gives the port back
 */
export function mapExternal(
  context: Context,
  protocol: 6 | 17,
  local: Endpoint,
  external: ExternalRequest | undefined,
  callback: Callback<Opened>,
): () => void {
  if (external === undefined) {
    callback({ value: { local } });
    return () => {};
  }
  let answered = false;
  return context.names.mapPort(protocol, local.port, external, (outcome) => {
    if (answered) return;
    answered = true;
    callback("failure" in outcome ? outcome : { value: { local, external: outcome.value } });
  });
}
