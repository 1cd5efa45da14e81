// A PCP client in the guest: messages of RFC 6887 by its nc.
import { randomBytes } from "node:crypto";

const TCP = 6;
const IPV4_MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255];

/** A MAP request (sections 7.1 and 11.1) for any port of any IPv4 address. */
function request(guest, port, lifetime, nonce) {
  const message = Buffer.alloc(60);
  message.set([2, 1]);
  message.writeUInt32BE(lifetime, 4);
  message.set([...IPV4_MAPPED, ...guest.split(".").map(Number)], 8);
  message.set(nonce, 24);
  message[36] = TCP;
  message.writeUInt16BE(port, 40);
  message.set(IPV4_MAPPED, 44);
  return message;
}

async function ask(shell, message) {
  const text = [...message].map((octet) => `\\${octet.toString(8).padStart(3, "0")}`).join("");
  const output = await shell.must(`printf '${text}' | nc.openbsd -u -w 2 192.168.127.1 5351 | od -An -v -tx1`);
  const answer = Buffer.from(output.replace(/\s/g, ""), "hex");
  const fits = answer.length >= 60 && answer[0] === 2 && answer[1] === 0x81;
  if (!fits || answer[3] !== 0) throw new Error(`PCP says ${answer.toString("hex") || "nothing"}`);
  const nonce = answer.subarray(24, 36);
  if (!nonce.equals(message.subarray(24, 36))) throw new Error("the answer is for somebody else");
  return { address: [...answer.subarray(56, 60)].join("."), port: answer.readUInt16BE(42) };
}

/** Maps a TCP port of the guest; resolves to where it is outside, and `release` to give it back. */
export async function mapByPcp(shell, guest, port) {
  const nonce = randomBytes(12);
  const external = await ask(shell, request(guest, port, 600, nonce));
  return { ...external, release: () => ask(shell, request(guest, port, 0, nonce)) };
}
