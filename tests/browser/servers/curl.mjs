// An HTTP server that does what curl has to cope with: `curl.mjs ADDRESS`.
import { createHash } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import { announce } from "./certificates.mjs";

const address = process.argv[2];
const numbers = new WeakMap();
let connections = 0;

/** What was uploaded, and whether the client was asked for it. */
async function taken(request, response, asked) {
  const hash = createHash("sha256");
  let octets = 0;
  for await (const chunk of request) {
    hash.update(chunk);
    octets += chunk.length;
  }
  response.end(`${octets} ${hash.digest("hex")} ${asked ? "asked for" : "sent unasked"}\n`);
}

function answer(request, response) {
  const [, what, number] = request.url.split("/");
  switch (what) {
    case "connection":
      return response.end(`connection ${numbers.get(request.socket)}\n`);
    case "redirect":
      if (Number(number) === 0) return response.end("arrived\n");
      return response.writeHead(302, { Location: `/redirect/${Number(number) - 1}` }).end();
    case "file":
      return response.end(`file ${number}\n`.repeat(Number(number)));
    case "broken":
      response.writeHead(200, { "Content-Length": 1000 }).write("half of it\n", () => request.socket.destroy());
      return;
    case "never":
      return;
    case "take":
      return taken(request, response, false);
    default:
      return response.writeHead(404).end();
  }
}

const server = http.createServer(answer);
server.on("connection", (socket) => numbers.set(socket, ++connections));
server.on("checkContinue", (request, response) => {
  // A server that says nothing: the client goes on by itself.
  const asked = request.url !== "/take/silent";
  if (asked) response.writeContinue();
  return taken(request, response, asked);
});
server.listen(0, address);
await once(server, "listening");
announce({ port: server.address().port });
