// Shows that this gateway works: opens a tunnel to where the page comes from, pings, and fetches what is asked for.
import { http } from "./webtun/http.js";
import { connect } from "./webtun/index.js";
import { tls } from "./webtun/tls.js";

/** Characters of an answer that are shown. */
const SHOWN = 4000;

const $ = (id) => document.getElementById(id);

const token = new URLSearchParams(location.search).get("token") ?? undefined;
// A token does not belong into the history, nor into a link that is copied. The tab keeps it, so that it can be reloaded.
if (token) {
  sessionStorage.setItem("token", token);
  history.replaceState(null, "", location.pathname);
}

function showState(state, detail = "") {
  $("state").dataset.state = state;
  $("state").textContent = detail ? `${state}: ${detail}` : state;
  document.title = `${state} – webtun gateway`;
}

function showLease({ lease }) {
  $("addresses").textContent = lease.addresses.join(", ");
  $("outside").textContent = [...new Set(lease.external.map(({ address }) => address))].join(", ");
  $("facts").hidden = false;
}

async function showPing(net) {
  try {
    const { rtt, address } = await net.ping(net.status.lease.dns[0]);
    $("ping").textContent = `${rtt.toFixed(1)} ms (${address})`;
  } catch (error) {
    $("ping").textContent = error.message;
  }
}

async function showAnswer(net, url) {
  $("answer").hidden = false;
  $("answer").textContent = `${url} …`;
  try {
    const began = performance.now();
    const response = await net.fetch(url);
    const text = await response.text();
    const milliseconds = (performance.now() - began).toFixed(0);
    $("answer").textContent = `${response.status} in ${milliseconds} ms\n\n${text.slice(0, SHOWN)}`;
  } catch (error) {
    $("answer").textContent = error.message;
  }
}

try {
  const net = await connect(new URL("./", location.href), {
    token: token ?? sessionStorage.getItem("token") ?? undefined,
    http,
    tls,
  });
  const { status } = net;
  const show = () => {
    showState(status.state, status.error?.message);
    if (status.lease) showLease(status);
  };
  for (const event of ["connected", "reconnecting", "closed"]) status.addEventListener(event, show);
  show();
  $("form").hidden = false;
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    showAnswer(net, $("url").value);
  });
  await showPing(net);
} catch (error) {
  const hint = token || sessionStorage.getItem("token") ? "" : " (open the address that the gateway has printed, with its token)";
  showState("closed", error.message + hint);
}
