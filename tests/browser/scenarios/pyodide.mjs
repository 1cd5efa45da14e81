import { within } from "../client/context.mjs";

export const about = "Pyodide as it comes from npm: socket, http.client, urllib and ssl, with its errors";
export const where = ["chromium"];
export const full = true;
export const deadline = 180;
export const host = {
  servers: async () => (await import("../harness/servers.mjs")).startServer("web"),
  secure: async () => (await import("../harness/servers.mjs")).startServer("secure"),
  install: async () => (await import("../harness/vendor.mjs")).installVendor("pyodide", "314.0.7"),
};

const HOST = "www.playground.test";

export default async function (t) {
  await t.host("install");
  const { ca, ports } = await t.host("servers");
  const secure = await t.host("secure");
  const [{ tls }, { usePyodide }] = [await t.load("tls"), await t.load("pyodide")];
  const { loadPyodide } = await import("/vendor/pyodide/pyodide.mjs");
  const pyodide = await loadPyodide({ indexURL: "/vendor/pyodide/" });
  await usePyodide(pyodide, await t.open({ tls }), { roots: ca });
  const python = (code) => within(pyodide.runPythonAsync(code), code, 60_000);

  const echoed = await python(`
import socket
with socket.create_connection(("echo.playground.test", 7)) as s:
    s.sendall(b"x" * 100_000)
    got = b""
    while len(got) < 100_000:
        got += s.recv(65536)
got == b"x" * 100_000`);
  t.equal(echoed, true, "the echo by socket");

  const lengths = await python(`
import http.client
c = http.client.HTTPConnection("${HOST}", ${ports.http})
lengths = []
for size in (10, 200_000):
    c.request("GET", f"/size/{size}")
    lengths.append(len(c.getresponse().read()))
str(lengths)`);
  t.equal(lengths, "[10, 200000]", "bodies by http.client");

  const posted = await python(`
import urllib.request
urllib.request.urlopen("https://${HOST}:${ports.https}/echo", data=b"posted").read().decode()`);
  t.equal(posted, "posted", "the echo by urllib over TLS");

  const failure = (code) => python(`
import ssl
try:
    ${code}
    result = "no failure"
except Exception as error:
    result = type(getattr(error, "reason", error)).__name__ + " " + str(error)
result`);
  const stranger = await failure(`urllib.request.urlopen("https://${HOST}:${secure.ports.expired}/")`);
  t.check(stranger.startsWith("SSLCertVerificationError"), `an authority that nobody knows: ${stranger}`);
  const refused = await failure(`socket.create_connection(("${HOST}", 1))`);
  t.check(refused.startsWith("ConnectionRefusedError"), `a port where nobody listens: ${refused}`);
  const name = await failure(
    `ssl.create_default_context().wrap_socket(socket.create_connection(("${HOST}", ${ports.https})), server_hostname="other.example")`,
  );
  t.check(name.includes("ERR_TLS_CERT_ALTNAME_INVALID"), `a wrong name: ${name}`);
  return name;
}
