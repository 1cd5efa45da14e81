import { connect } from "webtun";
import { report } from "./support/page.js";

report(connect);
