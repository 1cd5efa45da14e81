// TLS servers with one peculiarity each: `secure.mjs ADDRESS`.
import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";
import { announce, authority } from "./certificates.mjs";

const address = process.argv[2];
const { ca, issue } = authority();
const good = issue("www.playground.test", 2);
const expired = issue("www.playground.test", -1);
const ALPN = ["webtun-test", "http/1.1"];

function echo(socket) {
  socket.on("error", () => {});
  socket.pipe(socket);
}

/** Says a line, and breaks the connection below TLS. */
function cut(socket) {
  socket.on("error", () => {});
  socket.write("some of it\n", () => raw.get(socket.remotePort)?.end());
}

const raw = new Map();

/** Plain text until the line STARTTLS, then an echo over TLS. */
function startTls(socket) {
  socket.on("error", () => {});
  socket.write("ready\n");
  socket.once("data", (line) => {
    if (String(line) !== "STARTTLS\n") return socket.destroy();
    socket.write("go\n");
    echo(new tls.TLSSocket(socket, { isServer: true, ...good }));
  });
}

const servers = {
  echo: tls.createServer({ ...good, ALPNProtocols: ALPN }, echo),
  old: tls.createServer({ ...good, maxVersion: "TLSv1.2" }, echo),
  expired: tls.createServer(expired, echo),
  cut: tls.createServer(good, cut),
  starttls: net.createServer(startTls),
};
servers.cut.on("connection", (socket) => raw.set(socket.remotePort, socket));
const ports = {};
for (const [name, server] of Object.entries(servers)) {
  server.on("tlsClientError", () => {});
  server.listen(0, address);
  await once(server, "listening");
  ports[name] = server.address().port;
}
announce({ ca, ports });
