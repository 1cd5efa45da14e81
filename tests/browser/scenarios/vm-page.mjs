import { within } from "../client/context.mjs";
import { shown, typeLine, until } from "../client/terminal.mjs";

export const about = "the example page: a Linux machine boots, fetches, installs, is captured, and serves, the page too";
export const where = ["chromium"];
export const programs = ["vm"];
export const deadline = 300;

const SIZE = 4 << 20;
const PLAYGROUND = "198.18.0.2";

export const host = {
  hash: async (_, size) => (await (await fetch(`http://198.18.0.2/sha256?size=${size}`)).text()).trim(),
  /** From the playground, which knows nothing of the page, and of the gateway's machine another address. */
  async get(_, { port }) {
    const run = await runner();
    const url = `http://198.18.0.1:${port}/`;
    return run("ip", ["netns", "exec", process.env.PLAYGROUND_NETNS, "curl", "-sS", "--max-time", "20", url]);
  },
  /** What tcpdump makes of a file. */
  async tcpdump(_, base64, ...filter) {
    const [run, fs, os, path] = await Promise.all([runner(), import("node:fs"), import("node:os"), import("node:path")]);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "webtun-pcap-"));
    try {
      const file = path.join(folder, "guest.pcap");
      fs.writeFileSync(file, Buffer.from(base64, "base64"));
      return await run("tcpdump", ["-n", "-e", "-r", file, ...filter]);
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  },
};

async function runner() {
  const [{ execFile }, { promisify }] = await Promise.all([import("node:child_process"), import("node:util")]);
  return async (program, args) => (await promisify(execFile)(program, args, { maxBuffer: 1 << 26 })).stdout;
}

export default async function (t) {
  const page = document.createElement("iframe");
  page.width = "1100";
  page.height = "1500";
  page.src = `/programs/vm-page/index.html?gateway=${encodeURIComponent(t.url())}`;
  document.body.append(page);
  const machine = new Machine(page);
  await within(until(() => ["online", "failed"].includes(machine.state)), "the machine", 180_000);
  t.equal(machine.state, "online", `the machine's state; the page says ${machine.says}`);

  const expected = await t.host("hash", SIZE);
  await machine.types(`wget -q -O - 'http://www.playground.test/blob?size=${SIZE}' | sha256sum`, expected);
  await machine.types("pkg install hello && hello", "hello is installed", "Hello, world!");

  plotted(t, page);
  await captured(t, page);
  await served(t, page);
  await direct(t, page, machine);
  page.remove();
}

class Machine {
  #page;

  constructor(page) {
    this.#page = page;
  }

  get state() {
    return this.#page.contentDocument.getElementById("state")?.dataset.state;
  }

  get says() {
    return [...this.#page.contentDocument.querySelectorAll(".says")].map(({ textContent }) => textContent).join(" ");
  }

  /** Runs a command, after whose end the terminal must show all of `answers`. */
  async types(command, ...answers) {
    typeLine(this.#page, command);
    const all = () => answers.every((answer) => shown(this.#page).includes(answer));
    await within(until(all), `${answers.join(" and ")} of ${command}`, 90_000).catch((error) => {
      throw new Error(`${error.message}; the terminal shows ${shown(this.#page).trim()}`);
    });
  }
}

/** The traffic of what has been fetched, in figures and as a plot. */
function plotted(t, page) {
  const cards = [...page.contentDocument.querySelectorAll("#panels > *")];
  const card = cards.find((each) => each.textContent.includes("Frames so far"));
  const frames = /Frames so far\D*(\d+)/.exec(card.textContent)?.[1];
  t.check(Number(frames) * 1460 >= SIZE, `${frames} frames for ${SIZE} octets`);
  const pixels = pixelsOf(card.querySelector("canvas"));
  const colour = getComputedStyle(page.contentDocument.documentElement).getPropertyValue("--accent").trim();
  const drawn = pixels.filter((pixel) => pixel === pixelOf(colour)).length;
  t.check(drawn > 10, `${drawn} pixels of the plot have the colour of what comes to the guest`);
}

function pixelsOf(canvas) {
  return new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
}

function pixelOf(colour) {
  const context = new OffscreenCanvas(1, 1).getContext("2d");
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  return pixelsOf(context.canvas)[0];
}

async function captured(t, page) {
  const link = page.contentDocument.querySelector("a[download]");
  link.click();
  const octets = new Uint8Array(await (await fetch(link.href)).arrayBuffer());
  const base64 = btoa(Array.from(octets, (octet) => String.fromCharCode(octet)).join(""));
  const lines = async (...filter) => (await t.host("tcpdump", base64, ...filter)).trim().split("\n").length;
  t.check((await lines("udp port 67")) >= 4, "the capture has no DHCP of four messages");
  t.check((await lines("udp port 53")) >= 2, "the capture has no question to a name server with its answer");
  const data = await lines("tcp", "and", "src", PLAYGROUND);
  t.check(data * 1460 >= SIZE, `the capture has ${data} segments of a download of ${SIZE} octets`);
}

async function served(t, page) {
  press(page, "Map");
  const link = () => page.contentDocument.querySelector("a[target]");
  await within(until(() => link() !== null), "the mapped port");
  const text = await t.host("get", { port: new URL(link().href).port });
  t.check(text.includes("<h1>It works</h1>"), `the guest's server says ${text}`);
}

/** The page fetches from the guest, beside it on the same Ethernet. */
async function direct(t, page, machine) {
  press(page, "Fetch");
  const answer = () => page.contentDocument.querySelector(".log").textContent;
  const done = within(until(() => answer() !== ""), "the guest's answer to the page");
  await done.catch((error) => t.check(false, `${error.message}; the page says ${machine.says}`));
  t.check(/^This is Linux .*You are \S*192\.168\.127\./s.test(answer()), `the guest says ${answer()}`);
}

function press(page, label) {
  [...page.contentDocument.querySelectorAll("button")].find(({ textContent }) => textContent === label).click();
}
