export const about = "datagrams from outside reach a bound socket by an external port, and answers go back";
export const egress = true;

export const host = {
  /** Sends datagrams of these sizes to an address of this machine; returns the sizes of the answers. */
  async exchange(_tools, address, port, sizes) {
    const { createSocket } = await import("node:dgram");
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    const answers = [];
    try {
      for (const size of sizes) {
        const answer = new Promise((resolve, reject) => {
          socket.once("message", (data, from) => resolve({ data, from }));
          setTimeout(() => reject(new Error(`no answer to ${size} octets within 20 s`)), 20_000).unref();
        });
        socket.send(Buffer.alloc(size, size % 251), port, address);
        const { data, from } = await answer;
        if (from.port !== port) throw new Error(`the answer comes from port ${from.port}, and not ${port}`);
        if (data.some((octet) => octet !== size % 251)) throw new Error("the answer is something else");
        answers.push(data.length);
      }
    } finally {
      socket.close();
    }
    return answers;
  },
};

const SIZES = [0, 1, 512, 1472, 4000, 30_000];

export default async function (t) {
  const net = await t.open();
  for (const [family, local, outside] of [["ipv4", "0.0.0.0", "198.18.0.1"], ["ipv6", "::", "2001:2::1"]]) {
    const socket = new net.UDPSocket({ localAddress: local, external: { family } });
    const { readable, writable, externalPort } = await socket.opened;
    t.check(externalPort > 0, `no external port over ${family}`);
    const [reader, writer] = [readable.getReader(), writable.getWriter()];
    const answering = answer(reader, writer);
    const answers = await t.host("exchange", outside, externalPort, SIZES);
    t.equal(answers.join(), SIZES.join(), `sizes of the answers over ${family}`);
    await reader.cancel();
    await answering;
    reader.releaseLock();
    writer.releaseLock();
    await socket.close();
  }
  return `${SIZES.length} sizes each`;
}

/** Sends every datagram back to where it came from. */
async function answer(reader, writer) {
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    await writer.write(value);
  }
}
