import { within } from "../client/context.mjs";
import { shown, typeLine, until } from "../client/terminal.mjs";

export const about = "the example page: curl in a terminal fetches 200 files in parallel, and another command follows";
export const where = ["chromium"];
export const programs = ["curl"];
export const deadline = 120;

export const host = {
  web: async () => (await import("../harness/servers.mjs")).startServer("curl"),
};

/** Octets of the files 1 to 200: the line `file N` N times. */
const OCTETS = Array.from({ length: 200 }, (_, at) => `file ${at + 1}\n`.length * (at + 1)).reduce((a, b) => a + b);

export default async function (t) {
  const web = `http://198.18.0.2:${(await t.host("web")).port}`;
  const page = document.createElement("iframe");
  page.width = "900";
  page.height = "700";
  const command = encodeURIComponent(`curl -sS --parallel -o '#1' "${web}/file/[1-200]"`);
  page.src = `/programs/curl-page/index.html?gateway=${encodeURIComponent(t.url())}#${command}`;
  document.body.append(page);
  const root = () => page.contentDocument.documentElement;
  await within(until(() => root()?.dataset.status !== undefined), "the end of curl", 60_000);
  t.equal(root().dataset.status, "0", `its exit status; the terminal shows ${shown(page)}`);
  await within(until(() => shown(page).includes(`200 files, ${OCTETS} octets`)), "the number of files");

  delete root().dataset.status;
  typeLine(page, `curl -sS ${web}/redirect/0`);
  await within(until(() => root()?.dataset.status !== undefined), "the end of what was typed", 60_000);
  await within(until(() => /arrived/.test(shown(page))), "the answer");
  page.remove();
}
