// A tunnel as the harness wants it: streams of octets by address and port.

export const open = ({ url }) => openTunnel(url, connectEndToEnd);

export async function connectEndToEnd(net, host, port) {
  const socket = new net.TCPSocket(host, port, { noDelay: true });
  const { readable, writable } = await socket.opened;
  return { readable, writable, close: () => socket.close() };
}

/** `connect` opens a connection: readable, writable, close(); `layers`: options of the tunnel beside HTTP. */
export async function openTunnel(url, connect, layers = {}) {
  const [webtun, { http }] = await Promise.all([import("/webtun/index.js"), import("/webtun/http.js")]);
  const net = await webtun.connect(url, { http, ...layers });
  return {
    fetch: net.fetch,
    async connect(host, port) {
      const connection = await connect(net, host, port);
      return { ...connection, close: () => quietly(connection.close()) };
    },
    async udp(remoteAddress, remotePort) {
      const socket = new net.UDPSocket({ remoteAddress, remotePort });
      const { readable, writable } = await socket.opened;
      const [reader, writer] = [readable.getReader(), writable.getWriter()];
      return { ...octetsOf(reader, writer), close: () => quietly(reader.cancel().then(() => socket.close())) };
    },
    close: () => quietly(net.close()),
  };
}

/** The streams of a UDPSocket as ones of octets, as far as the harness uses them: it would measure real ones, too. */
function octetsOf(reader, writer) {
  const { closed } = reader;
  const read = async () => {
    const { value, done } = await reader.read();
    return { value: value?.data, done };
  };
  const write = (data) => writer.write({ data });
  return {
    readable: { getReader: () => ({ closed, read, cancel: () => reader.cancel() }) },
    writable: { getWriter: () => ({ closed: writer.closed, ready: writer.ready, write, close: () => writer.close() }) },
  };
}

/** The harness ends streams in any order; that some are over already is nothing to report. */
function quietly(promise) {
  promise.catch(() => {});
}
