// The page: opens the tunnel and puts the panels up.
import { connect } from "webtun";
import { checkAll, holdLoadEvent } from "./lib/check.mjs";
import { download } from "./panels/download.mjs";
import { echo } from "./panels/echo.mjs";
import { listen } from "./panels/listen.mjs";
import { lookup } from "./panels/lookup.mjs";
import { ping } from "./panels/ping.mjs";
import { speed } from "./panels/speed.mjs";
import { tunnel } from "./panels/tunnel.mjs";

const parameters = new URLSearchParams(location.search);
const check = parameters.get("check");
if (check && parameters.has("hold")) holdLoadEvent(check);

const token = parameters.get("token") ?? undefined;
// A token does not belong into the history, nor into a link that is copied.
if (token) history.replaceState(null, "", location.pathname);

const net = connect(new URL("./", location.href), { token });
const context = { net };
const panels = [tunnel, download, speed, ping, echo, lookup, listen].map((make) => make(context));
document.getElementById("panels").append(...panels.map(({ element }) => element));

// For the curious: `net` in the console.
net.then((network) => (globalThis.net = network), () => {});
// Not every demo could build those pages.
for (const [page, line] of [["vm/", "machine"], ["programs/", "programs"]]) {
  fetch(page, { method: "HEAD" }).then(({ ok }) => (document.getElementById(line).hidden = !ok), () => {});
}
if (check) checkAll(panels, check);
