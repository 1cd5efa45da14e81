// The process of a scenario's own gateway.
import { spawn } from "node:child_process";
import { gatewayProgram } from "./options.mjs";

/** Octets of its log that are kept, to be shown where it does not start. */
const LOG = 4000;

/** What the demo's gateway is told by the environment is not for this one. */
const environment = () => Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("WEBTUN_")));

/**
 * Starts one, by the command `before` where there is one: the process, a promise of its end, and one of the address at which
 * it listens, as its log has it.
 */
export function spawnGateway(options, before = []) {
  const [program, ...words] = [...before, gatewayProgram(), ...options];
  const child = spawn(program, words, { env: environment(), stdio: ["ignore", "pipe", "pipe"] });
  const gone = new Promise((resolve) => child.once("exit", resolve));
  let log = "";
  const listening = new Promise((resolve, reject) => {
    const read = (text) => {
      log = (log + text).slice(-LOG);
      const found = /listening on \S*?([\d.]+:\d+)/.exec(log);
      if (found) resolve(found[1]);
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    gone.then(() => reject(new Error(`the gateway did not start: ${log.trim()}`)));
  });
  return { child, gone, listening };
}
