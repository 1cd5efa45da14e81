// In a Worker: opens a tunnel as it is told and echoes through it.
import { connect } from "/webtun/index.js";
import { Echo } from "./echo.mjs";

self.onmessage = async ({ data: { url, options } }) => {
  try {
    const net = await connect(url, options);
    const echo = await Echo.open(net);
    const time = await echo.round(1 << 20);
    await echo.close();
    await net.close();
    self.postMessage({ time });
  } catch (error) {
    self.postMessage({ error: String(error) });
  }
};
