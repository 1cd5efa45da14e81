import webtun = require("webtun");

export const net: Promise<webtun.Network> = webtun.connect("ws://127.0.0.1/");
