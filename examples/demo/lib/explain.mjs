// What failed, and what that means, in words.

const HINTS = {
  EACCES: "The gateway's rules forbid this destination. Without a rule only public addresses are allowed.",
  EADDRINUSE: "Another socket of this page, or of another user, has this port.",
  EAFNOSUPPORT: "The gateway gave this tab no address of that family (IPv4 or IPv6).",
  EAGAIN: "A limit of the gateway is reached. Try again in a moment.",
  EAI_AGAIN: "The gateway's name servers are silent. Does the gateway have an internet connection?",
  ECONNREFUSED: "The host is there, but no server listens at that port.",
  ECONNRESET: "The other side broke the connection off.",
  EHOSTUNREACH: "A router on the way reported that it cannot reach the host.",
  ENETDOWN: "The tunnel is closed. Reload the page to open a new one.",
  ENETRESET: "The gateway has forgotten this tab's session, and with it its connections.",
  ENETUNREACH: "The gateway has no route to that network.",
  ENOTFOUND: "Check the spelling; the name servers know no such name.",
  ETIMEDOUT: "Nothing came back. The host may be down, or something on the way swallows the packets.",
};

/** `{ what, hint }` of anything that was thrown. */
export function explain(error) {
  const code = error?.code ?? error?.cause?.code;
  const what = error instanceof Error || error instanceof DOMException ? error.message : String(error);
  return { what: what.charAt(0).toUpperCase() + what.slice(1), hint: HINTS[code] ?? "" };
}

/** The same in one line. */
export function explainShortly(error) {
  const { what, hint } = explain(error);
  return hint ? `${what}. ${hint}` : what;
}
