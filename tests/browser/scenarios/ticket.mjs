import { within } from "../client/context.mjs";

export const about = "a long JWT opens a tunnel, and a ticket that it buys opens one that outlives a cut";
export const strict = true;

/** Octets of a claim that the gateway does not know, so that the token has more than 2 KiB. */
const ROLES = 1600;

export const host = {
  /** Where tickets are to be had; pages know of the harness alone. */
  counter: ({ strict }) => new URL("/ticket", strict.href.replace("ws", "http")).href,

  jwt: async () => (await import("../harness/strict-gateway.mjs")).sign({ sub: "page", roles: "r".repeat(ROLES) }),
};

export default async function (t) {
  const token = await t.host("jwt");
  t.check(token.length > 2048, `the token has ${token.length} octets`);
  const first = await t.open({ gateway: "strict", token });
  t.equal(first.status.state, "connected", "the state with a JWT");
  await first.close();

  const { ticket, expires_in: life } = await buy(await t.host("counter"), token);
  t.check(life > 0, `a life of ${life} s`);
  const open = () => t.connect(`${t.url("strict")}?ticket=${ticket}`);
  const net = await open();
  try {
    const back = new Promise((resolve) => net.status.addEventListener("connected", resolve, { once: true }));
    const { addresses } = net.status;
    t.equal(await t.host("cut"), 1, "tunnels that were cut");
    await within(back, "the tunnel after the cut");
    t.equal(JSON.stringify(net.status.addresses), JSON.stringify(addresses), "the addresses of the session");
    await t.fails(open(), "EACCES", "the ticket again");
  } finally {
    await net.close();
  }
  return `a token of ${token.length} octets`;
}

/** As a page of another origin does it, Authorization and preflight included. */
async function buy(counter, token) {
  const response = await fetch(counter, { method: "POST", headers: { authorization: `Bearer ${token}` } });
  if (!response.ok) throw new Error(`${counter}: ${response.status} ${await response.text()}`);
  return response.json();
}
