// An authority and certificates of its own, made by openssl for one run.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { isIP } from "node:net";
import os from "node:os";
import path from "node:path";

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/**
 * Makes an authority; `issue(name, days, ...others)` gives key and certificate, which is of other names, too, and has expired
 * where `days` is negative.
 */
export function authority() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "webtun-certificates-"));
  process.on("exit", () => fs.rmSync(folder, { recursive: true, force: true }));
  const file = (name) => path.join(folder, name);
  const openssl = (...args) => execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
  openssl("req", "-x509", ...KEY, "-keyout", file("ca.key"), "-out", file("ca.pem"), "-subj", "/CN=scenario authority");
  return {
    ca: fs.readFileSync(file("ca.pem"), "utf8"),
    issue(name, days, ...others) {
      const leaf = (end) => file(`${name}${days}.${end}`);
      openssl("req", ...KEY, "-keyout", leaf("key"), "-out", leaf("csr"), "-subj", `/CN=${name}`);
      const names = [name, ...others].map((it) => `${isIP(it) ? "IP" : "DNS"}:${it}`);
      fs.writeFileSync(leaf("ext"), `subjectAltName=${names.join()}\n`);
      const signer = ["-CA", file("ca.pem"), "-CAkey", file("ca.key"), "-CAcreateserial"];
      const result = ["-days", String(days), "-extfile", leaf("ext"), "-out", leaf("pem")];
      openssl("x509", "-req", "-in", leaf("csr"), ...signer, ...result);
      return { key: fs.readFileSync(leaf("key")), cert: fs.readFileSync(leaf("pem")) };
    },
  };
}

/** Says on the first line of the output what the caller has to know, and ends when the caller does. */
export function announce(description) {
  console.log(JSON.stringify(description));
  process.stdin.on("end", () => process.exit(0)).resume();
}
