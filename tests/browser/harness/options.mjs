// The command line and the environment.
import fs from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";

const root = path.resolve(import.meta.dirname, "../../..");

export const USAGE = `Usage: cargo xtask demo --run node tests/browser/run.mjs [OPTIONS]

  -k NAME        only scenarios whose name contains NAME (repeatable)
  --egress       only scenarios that depend on how the gateway's packets leave
  --node         the scenarios in Node too, after those in Chromium
  --only-node    in Node and not in Chromium
  --size MIB     of the transfers (64, or 256 with --full)
  --full         full sizes and counts
  --list         print the names of the scenarios and end

Environment: WEBTUN_URL the gateway (set by cargo xtask demo), CHROMIUM the browser,
WEBTUN_GATEWAY the gateway's program (default: the release build of this repository),
WEBTUN_EGRESS "user" where that one is to do without a TUN device`;

/** Checks the command line; throws with words for a person where it is wrong. */
export function readOptions(argv) {
  const { values } = parseArgs({
    args: argv,
    options: {
      k: { type: "string", short: "k", multiple: true, default: [] },
      egress: { type: "boolean", default: false },
      node: { type: "boolean", default: false },
      "only-node": { type: "boolean", default: false },
      size: { type: "string" },
      full: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const mib = values.size === undefined ? (values.full ? 256 : 64) : Number(values.size);
  if (!Number.isInteger(mib) || mib < 1 || mib > 1024) throw new Error("--size is a number of MiB from 1 to 1024");
  return {
    names: values.k,
    egress: values.egress,
    where: [...(values["only-node"] ? [] : ["chromium"]), ...(values.node || values["only-node"] ? ["node"] : [])],
    mib,
    full: values.full,
    list: values.list,
    help: values.help,
  };
}

/** Where the gateway of this run is. */
export function gatewayUrl() {
  const url = process.env.WEBTUN_URL;
  if (!url) throw new Error("WEBTUN_URL is not set: run this by `cargo xtask demo --run node tests/browser/run.mjs`");
  return new URL(url);
}

/** The folder of the built npm package. */
export function packageFolder() {
  const folder = path.join(root, "wasm/npm/dist");
  if (!fs.existsSync(path.join(folder, "index.js"))) throw new Error("wasm/npm/dist is missing: run `cargo xtask npm`");
  return folder;
}

/** The gateway's program, for scenarios with a gateway of their own. */
export function gatewayProgram() {
  const target = path.resolve(root, process.env.CARGO_TARGET_DIR ?? "target");
  const program = process.env.WEBTUN_GATEWAY ?? path.join(target, "release/webtun-gateway");
  if (!fs.existsSync(program)) throw new Error(`there is no ${program}: build it, or set WEBTUN_GATEWAY`);
  return program;
}
