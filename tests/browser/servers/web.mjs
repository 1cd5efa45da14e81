// Node's HTTP servers: plain, TLS with HTTP/1.1 only, and TLS with HTTP/2: `web.mjs ADDRESS`.
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { announce, authority } from "./certificates.mjs";

const address = process.argv[2];
const { ca, issue } = authority();
const identity = issue("www.playground.test", 2);

const PIECE = Buffer.alloc(64 * 1024, "webtun--");
const counts = { connections: 0, aborted: 0 };

function* octets(size) {
  for (let left = size; left > 0; left -= PIECE.length) yield PIECE.subarray(0, left);
}

/** So many octets, as fast as they are taken. */
function send(response, size) {
  response.writeHead(200, { "content-length": size, "content-type": "application/octet-stream" });
  Readable.from(octets(size)).pipe(response);
}

const routes = {
  size: (_, response, size) => send(response, Number(size)),
  echo(request, response) {
    const { method, headers } = request;
    const length = headers["content-length"] ?? headers["transfer-encoding"] ?? "none";
    response.writeHead(200, { "x-method": method, "x-length": length, "x-type": headers["content-type"] ?? "none" });
    request.pipe(response);
  },
  async count(request, response) {
    let octets = 0;
    for await (const chunk of request) octets += chunk.length;
    response.end(String(octets));
  },
  fields: (request, response) => response.end(JSON.stringify(request.headers)),
  redirect(request, response, status) {
    request.resume();
    const to = new URL(request.url, "http://host/").searchParams.get("to");
    response.writeHead(Number(status), { location: to });
    response.end("elsewhere");
  },
  loop: (_, response) => response.writeHead(302, { location: "/loop" }).end(),
  cookies: (_, response) => response.writeHead(200, { "set-cookie": ["a=1", "b=2"] }).end(),
  gzip: (_, response) => response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("squeezed ".repeat(1000))),
  empty: (_, response) => response.writeHead(204).end(),
  missing: (_, response) => response.writeHead(404, { "content-type": "text/plain" }).end("not here"),
  forever(_, response) {
    response.on("close", () => (counts.aborted += 1));
    response.writeHead(200);
    response.write("begun");
  },
  silence: (request) => request.on("close", () => (counts.aborted += 1)),
  cut(_, response) {
    response.writeHead(200, { "content-length": 100 });
    response.write("cut", () => (response.stream ?? response.socket).destroy());
  },
  /** Closes its connection when it is idle, right after the response. */
  bye(request, response) {
    const { socket } = request;
    response.writeHead(200).end("bye", () => setTimeout(() => socket.destroy(), 50));
  },
  counts: (_, response) => response.end(JSON.stringify(counts)),
};

function answer(request, response) {
  const [, route, argument] = new URL(request.url, "http://host/").pathname.split("/");
  response.on("error", () => {});
  const serve = routes[route] ?? routes.missing;
  serve(request, response, argument);
}

const servers = {
  http: http.createServer(answer),
  https: https.createServer(identity, answer),
  http2: http2.createSecureServer(identity, answer),
};
const ports = {};
for (const [name, server] of Object.entries(servers)) {
  server.on(name === "http" ? "connection" : "secureConnection", () => (counts.connections += 1));
  server.on("sessionError", () => {});
  server.on("tlsClientError", () => {});
  server.listen(0, address);
  await once(server, "listening");
  ports[name] = server.address().port;
}
announce({ ca, ports });
