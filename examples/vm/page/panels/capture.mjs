// What crosses the guest's network card, as a file for Wireshark.
import { h } from "demo/dom.mjs";
import { octets } from "demo/format.mjs";
import { card } from "demo/panel.mjs";
import { Capture } from "../lib/pcap.mjs";

/** Octets of memory that a capture may take. */
const LIMIT = 64 << 20;

export function capture(context) {
  const record = h("button.primary", { type: "button" }, "Stop");
  const save = h("a.button", { href: "#", download: "guest.pcap", role: "button" }, "Download guest.pcap");
  const controls = h("div.row", record, save);
  const frame = card("Packet capture", "Every frame of the guest's network card, from its first one on, for Wireshark or tcpdump.", controls);

  let kept = new Capture(LIMIT);
  let recording = true;
  let full = false;
  const show = () => {
    const amount = `${kept.frames} frames, ${octets(kept.octets)}`;
    if (full) frame.says(`The capture is full: ${amount}. Download it, or record anew.`, "bad");
    else frame.says(recording ? `Recording: ${amount}.` : `Stopped: ${amount}.`);
    record.textContent = recording ? "Stop" : "Record anew";
  };
  context.onframe((octetsOfFrame) => {
    if (!recording || kept.add(octetsOfFrame, performance.timeOrigin + performance.now())) return;
    full = true;
    recording = false;
  });
  record.addEventListener("click", () => {
    recording = !recording;
    if (recording) [kept, full] = [new Capture(LIMIT), false];
    show();
  });
  save.addEventListener("click", () => {
    if (save.href.startsWith("blob:")) URL.revokeObjectURL(save.href);
    save.href = URL.createObjectURL(kept.file());
  });
  // Space presses buttons, and this link is one.
  save.addEventListener("keydown", (event) => {
    if (event.key !== " ") return;
    event.preventDefault();
    save.click();
  });
  setInterval(show, 1000);
  show();
  return { element: frame.element };
}
