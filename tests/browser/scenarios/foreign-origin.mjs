export const about = "a page of a foreign origin is not let in, and other requests get a clear status";

export const host = {
  /** The status of an upgrade request with these headers. */
  async upgrade({ gateway }, headers, path = "/") {
    const http = await import("node:http");
    const basic = {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
      "Sec-WebSocket-Protocol": "webtun.v1",
    };
    const all = Object.fromEntries(Object.entries({ ...basic, ...headers }).filter(([, value]) => value !== null));
    const request = http.request({ host: gateway.hostname, port: gateway.port, path, headers: all });
    return new Promise((resolve, reject) => {
      request.on("response", (response) => resolve((response.resume(), response.statusCode)));
      request.on("upgrade", (response, socket) => resolve((socket.destroy(), response.statusCode)));
      request.on("error", reject);
      request.end();
    });
  },
};

export default async function (t) {
  const { host } = new URL(t.gateway);
  const cases = [
    ["our own page", { Origin: `http://${host}` }, 101],
    ["a program that is no page", {}, 101],
    ["a foreign page", { Origin: "http://evil.example" }, 403],
    ["a page of another port", { Origin: "http://127.0.0.1:1" }, 403],
    ["a page without an origin", { Origin: "null" }, 403],
    ["a name that a stranger's DNS points here", { Origin: "http://evil.example", Host: "evil.example" }, 403],
    ["no subprotocol", { "Sec-WebSocket-Protocol": null }, 400],
    ["another subprotocol", { "Sec-WebSocket-Protocol": "webtun.v9" }, 400],
    ["another version of WebSocket", { "Sec-WebSocket-Version": "8" }, 426],
    ["no key", { "Sec-WebSocket-Key": null }, 400],
  ];
  for (const [what, headers, status] of cases) t.equal(await t.host("upgrade", headers), status, what);
  t.equal(await t.host("upgrade", {}, "/elsewhere"), 404, "another path");

  // The page of this scenario has another port than the gateway.
  if (t.where === "chromium") await t.fails(t.connect(t.gateway), "ECONNREFUSED", "this page itself");
  return `${cases.length + 1} upgrades`;
}
