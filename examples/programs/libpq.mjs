// libpq for programs of emcc: the sources lie in a crate, which Cargo fetches and checks.
import { execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const folder = path.resolve(import.meta.dirname, "libpq");

/** Of each folder of PostgreSQL's the files that libpq is made of where there is neither OpenSSL nor Windows. */
const FILES = {
  "interfaces/libpq": [
    "fe-auth", "fe-auth-oauth", "fe-auth-scram", "fe-cancel", "fe-connect", "fe-exec", "fe-lobj", "fe-misc", "fe-print",
    "fe-protocol3", "fe-secure", "fe-trace", "legacy-pqsignal", "libpq-events", "pqexpbuffer",
  ],
  common: [
    "base64", "cryptohash", "encnames", "fe_memutils", "hmac", "ip", "jsonapi", "link-canary", "logging", "md5",
    "md5_common", "pg_get_line", "pg_prng", "psprintf", "saslprep", "scram-common", "sha1", "sha2", "string", "stringinfo",
    "unicode_norm", "username", "wchar",
  ],
  port: [
    "chklocale", "explicit_bzero", "getpeereid", "inet_net_ntop", "noblock", "pg_bitutils", "pg_strong_random", "pgsleep",
    "pgstrcasecmp", "pgstrsignal", "pqsignal", "qsort", "quotes", "snprintf", "strerror", "strlcat", "strlcpy",
    "timingsafe_bcmp",
  ],
};

/** The manifest of the crate, once its sources are on this machine. */
async function crate() {
  const args = ["metadata", "--locked", "--format-version", "1", "--manifest-path", path.join(folder, "Cargo.toml")];
  const { packages } = JSON.parse((await run("cargo", args, { maxBuffer: 1 << 26 })).stdout);
  return packages.find(({ name }) => name === "pq-src");
}

/**
 * What a program is compiled with: its files and its options.
 *
 * @param cache - a folder for what is written
 */
export async function libpq(cache) {
  const { manifest_path: manifest, version } = await crate();
  const root = path.dirname(manifest);
  const sources = path.join(root, "source/src");
  const written = path.join(cache, "libpq");
  fs.mkdirSync(written, { recursive: true });
  fs.copyFileSync(path.join(sources, "include/port/linux.h"), path.join(written, "pg_config_os.h"));
  const [, name, major, minor] = /libpq-((\d+)\.(\d+))/.exec(version);
  const defined = {
    FRONTEND: 1, _GNU_SOURCE: 1, HAVE_TERMIOS_H: 1, HAVE_STRCHRNUL: 1, HAVE_STRSIGNAL: 1, PG_VERSION: `"${name}"`,
    PG_VERSION_STR: `"PostgreSQL ${name}"`, PG_VERSION_NUM: Number(major) * 10_000 + Number(minor),
    PG_MAJORVERSION: `"${major}"`, PG_MAJORVERSION_NUM: major, PG_MINORVERSION_NUM: minor,
  };
  const include = [
    folder, written, ...["port", "include", "interfaces/libpq"].map((each) => path.join(sources, each)),
    path.join(root, "additional_include"),
  ];
  const files = Object.entries(FILES).flatMap(([part, names]) =>
    names.map((each) => path.join(sources, part, `${each}.c`)));
  const options = [...Object.entries(defined).map(([key, value]) => `-D${key}=${value}`), ...include.map((each) => `-I${each}`)];
  return { files, options };
}
