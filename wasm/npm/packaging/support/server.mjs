// A static server that also hands out the configuration and takes the result of a page.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";

const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".json": "application/json",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

/** Serves `root`. `requests` collects the paths that were found; `result` resolves with what the page posts. */
export async function servePage(root, makeConfig) {
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
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: server.address().port, requests, result, close: () => server.close() };
}
