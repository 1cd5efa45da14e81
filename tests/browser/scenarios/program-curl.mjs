import { within } from "../client/context.mjs";
import { sequence, sha256 } from "../client/octets.mjs";
import { Program } from "../client/program.mjs";

export const about = "curl, unmodified: down, up with Expect, redirects, keep-alive, time-outs, TLS, 200 files at once";
export const where = ["chromium"];
export const programs = ["curl"];
export const deadline = 180;

export const host = {
  web: async () => (await import("../harness/servers.mjs")).startServer("curl"),
  authority: async () => (await import("node:fs")).readFileSync(process.env.PLAYGROUND_CA, "utf8"),
};

const WWW = "http://www.playground.test";
/** A network that swallows everything, and the playground. */
const DEAD_AND_ALIVE = "both.example:80:[2001:2:0:1::1],198.18.0.2";
const FILES = 200;

export default async function (t) {
  const net = await t.open();
  const web = `http://198.18.0.2:${(await t.host("web")).port}`;
  const files = { "/up": 3 << 20, "/playground.pem": await t.host("authority") };
  const program = { program: "curl", files, keep: "/out" };
  const run = (...args) => within(Program.run(t, net, program, "-sS", ...args), `curl ${args.join(" ")}`, 60_000);
  const says = async (expected, ...args) => {
    const { lines, errors, exit } = await run(...args);
    t.equal(`${exit} ${lines.join(" ")}`, `0 ${expected}`, `curl ${args.join(" ")}: ${errors.join(" ")}`);
  };
  const ends = async (status, ...args) => {
    const { exit, errors } = await run(...args);
    t.equal(exit, status, `curl ${args.join(" ")}: ${errors.join(" ")}: its exit status`);
  };

  await transfers(t, run, says, web);
  await says("arrived", "-L", `${web}/redirect/5`);
  await ends(47, "-L", "--max-redirs", "2", `${web}/redirect/5`);
  const { lines } = await run("-w", "%{num_connects}\\n", `${web}/connection`, `${web}/connection`);
  t.check(lines[0] === lines[2] && lines[1] === "1" && lines[3] === "0", `keep-alive: ${lines.join(", ")}`);
  await ends(18, "-o", "/out/broken", `${web}/broken`);
  await ends(28, "--max-time", "1", `${web}/never`);
  await ends(28, "--max-time", "1", "-o", "/dev/null", `${WWW}/blob?size=${1 << 30}`);
  await ends(45, "--interface", "192.0.2.7", `${web}/connection`);
  await ends(7, "http://www.playground.test:1/");
  await ends(6, "http://nobody.playground.test/");
  await families(t, says);
  await parallel(t, run, web);
}

async function transfers(t, run, says, web) {
  const size = 16 << 20;
  const expected = await sha256(sequence(size));
  for (const [secure, ...options] of [[WWW], [WWW.replace("http", "https"), "--cacert", "/playground.pem"]]) {
    const { files, errors } = await run("-o", "/out/blob", ...options, `${secure}/blob?size=${size}`);
    t.equal(files.blob?.length, size, `what came from ${secure}: ${errors.join(" ")}`);
    t.equal(await sha256(files.blob), expected, `the hash of what came from ${secure}`);
  }
  const up = Uint8Array.from({ length: 3 << 20 }, (_, at) => at % 251);
  const told = `${up.length} ${await sha256(up)}`;
  await says(`${told} asked for`, "-T", "/up", `${web}/take/asked`);
  await says(`${told} sent unasked`, "-T", "/up", `${web}/take/silent`);
}

async function families(t, says) {
  for (const [family, address] of [["-4", "198.18.0.2"], ["-6", "2001:2::2"]]) {
    await says(address, family, "-o", "/out/page", "-w", "%{remote_ip}\\n", `${WWW}/`);
  }
  await says("198.18.0.2", "--resolve", DEAD_AND_ALIVE, "-o", "/out/page", "-w", "%{remote_ip}\\n", "http://both.example/");
}

async function parallel(t, run, web) {
  const { files, errors, exit } = await run(
    "--parallel", "--parallel-max", "100", "-o", "/out/#1", `${web}/file/[1-${FILES}]`);
  t.equal(exit, 0, `${FILES} files: ${errors.join(" ")}: the exit status`);
  t.equal(Object.keys(files).length, FILES, "files");
  for (let number = 1; number <= FILES; number++) {
    const text = new TextDecoder().decode(files[number]);
    t.equal(text, `file ${number}\n`.repeat(number), `file ${number}`);
  }
}
