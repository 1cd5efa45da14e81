// A WebSocket for each flow and nothing else, which is what a tunnel is compared with.

/** Octets that may wait in a WebSocket before a write does: as many as the harness of the peers allows. */
const HIGH_WATER = 8 * 1024 * 1024;

/** Opens a WebSocket; its messages are the chunks of streams. */
export async function openBare(url) {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  await new Promise((opened, failed) => {
    socket.onopen = opened;
    socket.onerror = () => failed(new Error(`no WebSocket to ${url}`));
  });
  let cancelled = false;
  const readable = new ReadableStream({
    start(controller) {
      socket.onmessage = ({ data }) => cancelled || controller.enqueue(new Uint8Array(data));
      socket.onclose = () => cancelled || controller.close();
    },
    cancel() {
      cancelled = true;
      socket.close();
    },
  });
  const writable = new WritableStream({ write: (octets) => send(socket, octets), close: () => socket.close() });
  return { readable, writable, close: () => socket.close() };
}

async function send(socket, octets) {
  socket.send(octets);
  while (socket.bufferedAmount > HIGH_WATER && socket.readyState === WebSocket.OPEN) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Connections by way of `bench_relay`, in the shape of a tunnel. */
export function openRelay(url) {
  class TCPSocket {
    #flow;

    constructor(host, port) {
      this.#flow = openBare(`${url}/${host}/${port}`);
      this.opened = this.#flow;
    }

    async close() {
      (await this.#flow).close();
    }
  }
  return { TCPSocket };
}
