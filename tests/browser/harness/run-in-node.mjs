// One job in Node: `node run-in-node.mjs JOB`, with the job as JSON. The result goes where the page would post it.
import path from "node:path";
import { pathToFileURL } from "node:url";
import { perform } from "../client/job.mjs";
import { packageFolder } from "./options.mjs";

const job = JSON.parse(process.argv[2]);
const load = (name) => import(pathToFileURL(path.join(packageFolder(), `${name}.js`)).href);
const { connect } = await load("node");
await perform(job, connect, (entry) => load(`${entry}-node`));
// A socket that a scenario has left behind is no reason to stay.
process.exit(0);
