export const about = "a gateway with tokens lets in who has one, and tells the others why not";
export const strict = true;

export default async function (t) {
  const open = (token) => t.connect(t.url("strict"), token === undefined ? {} : { token });
  const wrong = await t.fails(open("strict-firsT"), "EACCES", "a wrong token");
  t.equal(wrong.name, "NotAllowedError", "the name of the error");
  await t.fails(open(undefined), "EACCES", "no token");
  const malformed = await open("not a token").then(() => undefined, (error) => error);
  t.check(malformed instanceof TypeError, `a malformed token: ${malformed}`);

  const net = await t.open({ gateway: "strict", token: "strict-first" });
  t.equal(net.status.state, "connected", "the state with a token");
  await t.fails(open("strict-firs"), "EACCES", "a part of a token, while another session is open");
  t.equal(net.status.state, "connected", "the state of the session beside it");
  await t.fails(new net.TCPSocket("198.18.0.2", 7).opened, "EACCES", "a destination that this gateway does not allow");
  return "4 refusals";
}
