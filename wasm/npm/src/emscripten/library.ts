/** The entry of the runtime's bundle: what the emcc library puts into a program. */
import type { Environment } from "./environment.js";
import { Runtime } from "./runtime.js";

export function create(environment: Environment): Runtime {
  return new Runtime(environment);
}
