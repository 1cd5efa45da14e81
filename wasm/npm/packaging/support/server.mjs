// A static server that also hands out the configuration, takes the result of a page, and passes WebSockets on to the
// gateway: by its default a gateway accepts pages of its own host and port only.
import { createServer, request as httpRequest } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";

const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".json": "application/json",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

/** Repeats the upgrade to the gateway, as a page of its own would ask for it, and joins the two connections. */
function passOn(gateway, request, socket) {
  const { host, origin } = new URL(gateway.replace(/^ws/, "http"));
  const upstream = httpRequest(origin, { headers: { ...request.headers, host, origin } });
  const head = ({ statusCode, statusMessage, rawHeaders }) => {
    const lines = [`HTTP/1.1 ${statusCode} ${statusMessage}`];
    for (let i = 0; i < rawHeaders.length; i += 2) lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
    return `${lines.join("\r\n")}\r\n\r\n`;
  };
  const end = () => socket.destroy();
  socket.on("error", () => upstream.destroy());
  upstream.on("error", end);
  upstream.on("response", (response) => socket.end(head(response)));
  upstream.on("upgrade", (response, gatewaySocket, first) => {
    socket.write(head(response));
    socket.write(first);
    gatewaySocket.on("error", end);
    gatewaySocket.pipe(socket).pipe(gatewaySocket);
  });
  upstream.end();
}

/** Serves `root`. `requests` collects the paths that were found; `result` resolves with what the page posts. */
export async function servePage(root, makeConfig, gateway) {
  const requests = [];
  let settle;
  const result = new Promise((resolve) => (settle = resolve));
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
    if (request.method === "POST" && path === "/result") {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      response.end();
      return settle(JSON.parse(Buffer.concat(chunks).toString()));
    }
    if (path === "/config.json") return response.end(JSON.stringify(makeConfig(server.address().port)));
    try {
      const file = path.endsWith("/") ? `${path}index.html` : path;
      const data = await readFile(join(root, file));
      requests.push(file);
      response.setHeader("Content-Type", TYPES[extname(file)] ?? "application/octet-stream");
      response.end(data);
    } catch {
      response.writeHead(404).end();
    }
  });
  if (gateway !== undefined) server.on("upgrade", (request, socket) => passOn(gateway, request, socket));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: server.address().port, requests, result, close: () => server.close() };
}
