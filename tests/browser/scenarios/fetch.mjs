import { within } from "../client/context.mjs";

export const about = "net.fetch over HTTP/1.1, with TLS, and over HTTP/2: bodies, redirects, abort, progress, reuse";
export const deadline = 120;
export const host = {
  servers: async () => (await import("../harness/servers.mjs")).startServer("web"),
};

const HOST = "www.playground.test";
/** The same machine, which is another origin. */
const ADDRESS = "198.18.0.2";

export default async function (t) {
  const { ca, ports } = await t.host("servers");
  const [{ http }, { tls }] = [await t.load("http"), await t.load("tls")];
  const net = await t.open({ http, tls });
  const figures = [];
  for (const [name, port] of Object.entries(ports)) {
    const base = `${name === "http" ? "http" : "https"}://${HOST}:${port}`;
    const get = (path, init) => within(net.fetch(`${base}${path}`, { roots: ca, ...init }), `${name} ${path}`);
    await asRequest(t, net, ca, `${base}/echo`);
    await basics(t, get, base);
    await bodies(t, get);
    await redirects(t, get, base);
    await secrets(t, get, `http://${ADDRESS}:${ports.http}/fields`);
    await aborts(t, get);
    await reuse(t, get, name);
    figures.push(`${name} ${await speed(t, get)} MiB/s`);
  }
  await refusals(t, net, ports);
  return figures.join(", ");
}

/** The platform's own object for what is asked for. */
async function asRequest(t, net, roots, url) {
  const request = new Request(url, { method: "POST", body: "asked", headers: { "content-type": "text/x-own" } });
  const response = await within(net.fetch(request, { roots }), "a Request");
  const { headers } = response;
  t.equal(`${headers.get("x-method")} ${headers.get("x-type")}`, "POST text/x-own", "the head of a Request");
  t.equal(await response.text(), "asked", "the body of a Request");
}

async function basics(t, get, base) {
  const missing = await get("/nowhere#fragment");
  t.equal(missing.status, 404, "the status");
  t.equal(missing.ok, false, "ok");
  t.equal(missing.url, `${base}/nowhere`, "the URL");
  t.check(missing instanceof Response && missing.headers.get("content-type") === "text/plain", "the head is wrong");
  t.equal(await missing.text(), "not here", "the body");
  t.equal((await get("/empty")).body, null, "the body of a 204");
  t.equal(await (await get("/size/5", { method: "HEAD" })).text(), "", "the body of a HEAD");
  t.equal(await (await get("/gzip")).text(), "squeezed ".repeat(1000), "a compressed body");
  t.equal((await get("/cookies")).headers.getSetCookie().join(), "a=1,b=2", "cookies that are set");
  const fields = await (await get("/fields", { headers: { cookie: "c=3", "x-own": "gr\u00fcn" } })).json();
  t.equal(fields.cookie, "c=3", "a field that pages may not send");
  t.equal(fields["x-own"], "gr\u00fcn", "a field beyond ASCII");
  t.equal(fields["accept-encoding"], "gzip, deflate", "the codings that are offered");
  await short(t, get);
}

/** A body that comes with its head. */
async function short(t, get) {
  const response = await get("/size/5");
  t.equal(await response.clone().text(), await response.text(), "a clone of a short body");
  const seen = [];
  const told = await get("/size/5", { onprogress: ({ loaded, total }) => seen.push(`${loaded} of ${total}`) });
  t.equal((await told.arrayBuffer()).byteLength, 5, "octets of a short body");
  t.equal(seen.join(), "5 of 5", "the progress of a short body");
}

async function bodies(t, get) {
  const post = (body, init) => get("/echo", { method: "POST", body, ...init });
  const text = await post("gr\u00fcn");
  t.equal(text.headers.get("x-type"), "text/plain;charset=UTF-8", "the type of text");
  t.equal(text.headers.get("x-length"), "5", "the length of text");
  t.equal(await text.text(), "gr\u00fcn", "the echo of text");
  const octets = await post(new Uint8Array([1, 2, 3]));
  t.equal(octets.headers.get("x-type"), "none", "the type of octets");
  t.equal((await octets.arrayBuffer()).byteLength, 3, "the echo of octets");
  const form = new FormData();
  form.set("file", new Blob(["content"]), "name.txt");
  t.check((await (await post(form)).text()).includes("content"), "the form is not echoed");
  const blob = await post(new Blob(["12345"], { type: "text/x-own" }));
  t.equal(blob.headers.get("x-length") + blob.headers.get("x-type"), "5text/x-own", "the head of a blob");
  t.equal(await blob.text(), "12345", "the echo of a blob");
  await streams(t, post);
}

/** Both ways at once, and each chunk at once. */
async function streams(t, post) {
  const { readable, writable } = new TransformStream();
  const answered = post(readable.pipeThrough(new TextEncoderStream()), { duplex: "half" });
  const writer = writable.getWriter();
  await writer.write("one ");
  const response = await answered;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  t.equal((await within(reader.read(), "the first chunk")).value, "one ", "the first chunk");
  await writer.write("two");
  t.equal((await within(reader.read(), "the second chunk")).value, "two", "the second chunk");
  await writer.close();
  t.equal((await within(reader.read(), "the end")).done, true, "the end");
}

async function redirects(t, get, base) {
  const to = encodeURIComponent("/echo");
  const followed = await get(`/redirect/302?to=${to}`, { method: "POST", body: "dropped" });
  t.equal(followed.headers.get("x-method"), "GET", "the method after 302");
  t.equal(followed.url, `${base}/echo`, "the URL after a redirect");
  t.equal(followed.redirected, true, "redirected");
  const kept = await get(`/redirect/307?to=${to}`, { method: "POST", body: "kept" });
  t.equal(kept.headers.get("x-method") + (await kept.text()), "POSTkept", "the request after 307");
  const manual = await get(`/redirect/301?to=${to}`, { redirect: "manual" });
  t.equal(`${manual.status} ${manual.headers.get("location")}`, "301 /echo", "redirect: manual");
  const refused = (path, init) => failure(get(path, init));
  t.equal((await refused(`/redirect/301?to=${to}`, { redirect: "error" })).name, "TypeError", "redirect: error");
  t.equal((await refused("/loop")).name, "TypeError", "redirects without end");
  t.equal((await refused(`/redirect/302?to=${encodeURIComponent("ftp://host/")}`)).name, "TypeError", "a redirect to FTP");
}

/** What is for one origin alone stays with it. */
async function secrets(t, get, elsewhere) {
  const headers = { authorization: "Basic c2VjcmV0", cookie: "c=3", "x-own": "1" };
  const seen = async (to) => {
    const fields = await (await get(`/redirect/302?to=${encodeURIComponent(to)}`, { headers })).json();
    return Object.keys(headers).filter((name) => fields[name] === headers[name]).join();
  };
  t.equal(await seen("/fields"), "authorization,cookie,x-own", "fields after a redirect to the same origin");
  t.equal(await seen(elsewhere), "x-own", "fields after a redirect to another one");
}

async function aborts(t, get) {
  const counts = async () => (await get("/counts")).json();
  const before = (await counts()).aborted;
  for (const path of ["/forever", "/silence"]) {
    const controller = new AbortController();
    const pending = get(path, { signal: controller.signal });
    const reading = path === "/forever" ? readAll(await pending) : pending;
    setTimeout(() => controller.abort(), 50);
    t.equal((await failure(within(reading, `the abort of ${path}`))).name, "AbortError", `the abort of ${path}`);
  }
  const late = await failure(get("/silence", { signal: AbortSignal.timeout(50) }));
  t.equal(late.name, "TimeoutError", "a timeout");
  const begun = performance.now();
  while ((await counts()).aborted < before + 3 && performance.now() < begun + 10_000);
  t.equal((await counts()).aborted, before + 3, "requests whose abort the server has seen");
  t.equal((await failure(get("/cut").then(readAll))).code, "ECONNRESET", "a body that is cut");
}

/** By the stream: Chromium's own text() has one error for everything. */
async function readAll(response) {
  const reader = response.body.getReader();
  while (!(await reader.read()).done);
}

async function reuse(t, get, name) {
  const counts = async () => (await get("/counts")).json();
  if (name !== "http2") {
    t.equal(await (await get("/bye")).text(), "bye", "the last response of a connection");
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const before = (await counts()).connections;
  for (let i = 0; i < 20; i++) await (await get("/size/10")).arrayBuffer();
  t.equal((await counts()).connections, before, "connections after 20 requests more");
  const sizes = await Promise.all(Array.from({ length: 200 }, async () => (await (await get("/size/1000")).text()).length));
  t.equal(sizes.filter((size) => size === 1000).length, 200, "whole responses of 200 at once");
  const opened = (await counts()).connections - before;
  t.check(opened <= (name === "http2" ? 0 : 6), `200 requests at once took ${opened} connections more`);
}

async function speed(t, get) {
  const size = Math.min(t.size, 32 << 20);
  const start = performance.now();
  const seen = [];
  const response = await get(`/size/${size}`, { onprogress: (progress) => seen.push(progress) });
  let octets = 0;
  for await (const chunk of response.body) octets += chunk.byteLength;
  const rate = size / (1 << 20) / ((performance.now() - start) / 1000);
  t.equal(octets, size, "octets of a download");
  const { direction, loaded, total } = seen.at(-1);
  t.equal(`${direction} ${loaded} ${total}`, `download ${size} ${size}`, "the last progress");
  seen.length = 0;
  const sent = await get("/count", { method: "PUT", body: new Uint8Array(size), onprogress: (each) => seen.push(each) });
  t.equal(await sent.text(), String(size), "octets of an upload");
  t.equal(seen.findLast((each) => each.direction === "upload")?.loaded, size, "the last progress of an upload");
  return Math.round(rate);
}

async function refusals(t, net, ports) {
  const refused = async (url, code, init) => {
    const error = await failure(within(net.fetch(url, init), url));
    t.equal(`${error.name} ${error.code}`, `TypeError ${code}`, `fetch ${url}`);
  };
  await refused(`http://${HOST}:1/`, "ECONNREFUSED");
  await refused("http://nowhere.playground.test/", "ENOTFOUND");
  await refused(`https://${HOST}:${ports.https}/`, "UNABLE_TO_GET_ISSUER_CERT");
  await refused(`https://${HOST}:${ports.http}/`, "EPROTO");
  await refused(`http://${HOST}:${ports.http2}/`, "ECONNRESET");
  await refused("ftp://host/", undefined);
  await refused("http://name:word@host/", undefined);
  const bare = await t.open();
  t.equal((await failure(bare.fetch("http://host/"))).name, "NotSupportedError", "a tunnel without HTTP");
}

async function failure(promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`no failure, but ${value?.status} ${value?.url}`);
}
