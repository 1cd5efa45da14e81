// Runs the probe in Node and exits with how it went.
import { probe } from "./probe.js";

export async function report(connect) {
  try {
    console.log(await probe(connect, JSON.parse(process.env.PROBE)));
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  }
}
