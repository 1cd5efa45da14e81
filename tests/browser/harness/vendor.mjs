// Packages of npm that only a scenario needs, too large to be installed for all.
import { execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";

const root = path.resolve(import.meta.dirname, "../../..");

/** Where the page finds them, by name. */
export const VENDOR = path.join(root, "target/vendor/node_modules");

/** For how many milliseconds npm may be at it. */
const PATIENCE = 50_000;

/** Installs one, unless it is there; `version` may be `npm:NAME@VERSION` of a package that gets another name here. */
export async function installVendor(name, version) {
  const manifest = path.join(VENDOR, name, "package.json");
  const wanted = version.split("@").at(-1);
  if (fs.existsSync(manifest) && JSON.parse(fs.readFileSync(manifest)).version === wanted) return;
  const prefix = path.dirname(VENDOR);
  fs.mkdirSync(prefix, { recursive: true });
  // npm writes down what it has installed, and so keeps it when the next one comes.
  const options = ["--prefix", prefix, "--no-audit", "--no-fund", "--ignore-scripts"];
  try {
    await promisify(execFile)("npm", ["install", ...options, `${name}@${version}`], { timeout: PATIENCE });
  } catch (error) {
    const advice = "where the demo has no internet, in a namespace, run the scenario once with --egress tun before";
    throw new Error(`npm does not install ${name}@${version} (${advice}): ${error.stderr || error.message}`);
  }
}
