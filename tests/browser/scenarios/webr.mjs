import { within } from "../client/context.mjs";

export const about = "webR as it comes from npm: R's socketConnection() blocks, by name, and url() reads over it";
export const where = ["chromium"];
export const full = true;
export const deadline = 240;
export const host = {
  install: async () => (await import("../harness/vendor.mjs")).installVendor("webr", "0.6.0"),
};

const ECHO = `
con <- socketConnection("echo.playground.test", 7, blocking = TRUE, open = "r+b", timeout = 10)
writeBin(as.raw(rep(1:250, 400)), con)
got <- raw(0)
while (length(got) < 100000) got <- c(got, readBin(con, "raw", 100000 - length(got)))
close(con)
identical(got, as.raw(rep(1:250, 400)))`;

const LINES = `
con <- socketConnection("www.playground.test", 80, blocking = TRUE, open = "r+", timeout = 10)
writeLines(c("GET /sha256?size=4 HTTP/1.0", ""), con, sep = "\\r\\n")
lines <- readLines(con)
close(con)
lines[1]`;

const REFUSED = `
tryCatch(
  { socketConnection("echo.playground.test", 1, blocking = TRUE, timeout = 5); "open" },
  error = function(e) "refused", warning = function(w) "refused")`;

const URL_READ = `readLines(url("http://www.playground.test/sha256?size=4"))[1]`;

const DOWNLOAD = `
file <- tempfile()
download.file("http://www.playground.test/blob?size=3000000", file, quiet = TRUE)
missing <- tryCatch(
  { download.file("http://www.playground.test/nothing", tempfile(), quiet = TRUE); "there" },
  error = function(e) "failed", warning = function(w) "failed")
c(format(file.size(file), scientific = FALSE), missing)`;

export default async function (t) {
  await t.host("install");
  const [{ http }, { installWebR }] = [await t.load("http"), await t.load("webr")];
  const uninstall = installWebR(await t.open({ http }), { downloads: true });
  const { WebR } = await import("/vendor/webr/dist/webr.js");
  const webR = new WebR({ baseUrl: `${location.origin}/vendor/webr/dist/` });
  await within(webR.init(), "the start of R", 90_000);
  uninstall();
  const evaluate = async (code) => (await within(webR.evalR(code), code, 60_000)).toJs();
  t.equal((await evaluate(ECHO)).values[0], true, "the echo");
  const [line] = (await evaluate(LINES)).values;
  t.check(/^HTTP\/1\.\d 200/.test(line), `the first line of the answer: ${line}`);
  t.equal((await evaluate(REFUSED)).values[0], "refused", "a port where nobody listens");
  const [hash] = (await evaluate(URL_READ)).values;
  t.check(/^[0-9a-f]{64}$/.test(hash), `what url() has read: ${hash}`);
  const [size, missing] = (await evaluate(DOWNLOAD)).values;
  t.equal(`${size} ${missing}`, "3000000 failed", "download.file(), and of what is not there");
  webR.close();
  return line;
}
