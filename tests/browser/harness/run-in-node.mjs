// One job in Node: `node run-in-node.mjs JOB`, with the job as JSON. The result goes where the page would post it.
import path from "node:path";
import { pathToFileURL } from "node:url";
import { perform } from "../client/job.mjs";
import { packageFolder } from "./options.mjs";

const job = JSON.parse(process.argv[2]);
const { connect } = await import(pathToFileURL(path.join(packageFolder(), "node.js")).href);
await perform(job, connect);
// A socket that a scenario has left behind is no reason to stay.
process.exit(0);
