import { within } from "../client/context.mjs";
import { Program } from "../client/program.mjs";

export const about = "libssh2, unmodified, at a real OpenSSH: a command, 4 MiB of output, a shell on a terminal, another host key";
export const programs = ["ssh"];
export const deadline = 120;

export const host = {
  ssh: async () => (await import("../harness/servers.mjs")).startServer("ssh"),
};

/** A line of 63 letters and its end, so often that it makes 4 MiB. */
const LINE = "x".repeat(63);
const LINES = 65_536;

export default async function (t) {
  const { port, user, key, publicKey, fingerprint } = await t.host("ssh");
  const net = await t.open();
  const ssh = async (known, ...command) => {
    const program = Program.run(t, net, "ssh", "198.18.0.2", port, user, key, publicKey, known, ...command);
    const { lines, errors } = await within(program, `the end of ${command}`);
    return [...lines, ...errors];
  };
  t.equal((await ssh(fingerprint, "echo hello; exit 3")).join(), "hello,exit status 3", "a command");
  const many = await ssh(fingerprint, `yes ${LINE} | head -n ${LINES}`);
  t.equal(many.filter((line) => line === LINE).length, LINES, "lines of a long answer");
  const shell = (await ssh(fingerprint)).map((line) => line.trim());
  t.check(shell.some((line) => /^\/dev\/pts\/\d+$/.test(line)), `a terminal in ${shell}`);
  t.check(shell.includes("24 80"), `its size in ${shell}`);
  t.equal(shell.at(-1), "exit status 7", "the shell's end");
  t.equal((await ssh(fingerprint.replace(/.$/, "!"), "true")).join(), "the server has another key", "another key");
}
