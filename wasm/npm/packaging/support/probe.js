// What every project does with the package: with a gateway, an echo over TCP; without one, the error that says that
// the stack ran and the gateway did not answer.

/** @param {typeof import("webtun").connect} connect */
export async function probe(connect, { url, token, echo }) {
  if (echo === undefined) {
    const error = await connect(url).then(() => undefined, (error) => error);
    if (error?.name === "NetworkError" && error.code === "ECONNREFUSED") return "the stack runs";
    throw error ?? new Error("connected to a server that is no gateway");
  }
  const net = await connect(url, { token });
  try {
    const socket = new net.TCPSocket(echo.host, echo.port);
    const { readable, writable } = await socket.opened;
    const sent = "hello from a bundle";
    await writable.getWriter().write(new TextEncoder().encode(sent));
    const reader = readable.getReader();
    const decoder = new TextDecoder();
    let text = "";
    while (text.length < sent.length) {
      const { value, done } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
    if (text !== sent) throw new Error(`the echo was "${text}"`);
    return "the echo came back";
  } finally {
    await net.close();
  }
}
