import { connect } from "webtun";
import { report } from "./support/node.js";

await report(connect);
