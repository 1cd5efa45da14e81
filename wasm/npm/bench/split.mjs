// The tunnel, with connections that the gateway makes: what is written at once travels with the request.
import { openTunnel } from "./client.mjs";

export const open = ({ url }) =>
  openTunnel(url, (net, hostname, port) => {
    const socket = net.connect({ hostname, port });
    // It tells what the streams tell.
    socket.opened.catch(() => {});
    socket.closed.catch(() => {});
    return { readable: socket.readable, writable: socket.writable, close: () => socket.close() };
  });
