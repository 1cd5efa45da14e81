// The golden vectors of the wire crate, read by the TypeScript decoder.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { CapsuleType, decodeMessage } from "../dist/wire.js";

const vectors = new URL("../../../wire/tests/vectors/", import.meta.url);
const octets = (hex) => new Uint8Array(Buffer.from(hex, "hex"));

/** A decoded capsule in the spelling of the vectors. */
function spell(value) {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (Array.isArray(value)) return value.map(spell);
  if (value === null || typeof value !== "object") return value;
  const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [snake(name), spell(inner)]));
}

for (const file of readdirSync(vectors).filter((name) => name.endsWith(".json"))) {
  const { valid, invalid } = JSON.parse(readFileSync(new URL(file, vectors), "utf8"));
  test(`${file}: ${valid.length} valid messages`, () => {
    for (const { name, hex, capsules } of valid) assert.deepEqual(spell(decodeMessage(octets(hex))), capsules, name);
  });
  test(`${file}: ${invalid.length} invalid messages`, () => {
    for (const { name, hex, error } of invalid) {
      assert.throws(() => decodeMessage(octets(hex)), { name: "WireError", problem: error }, name);
    }
  });
}

test("the code points are those of the crate", () => {
  const source = readFileSync(new URL("../../../wire/src/capsule_type.rs", import.meta.url), "utf8");
  const value = (text) => Number(text.replaceAll("_", ""));
  const base = value(/OWN_BASE: u64 = (\S+);/.exec(source)[1]);
  for (const [name, code] of Object.entries(CapsuleType)) {
    const text = new RegExp(`const ${name}: u64 = ([^;]+);`).exec(source)?.[1];
    assert.ok(text, `${name} is missing in the crate`);
    const [own, offset = "0"] = text.split(" + ");
    assert.equal(code, own === "OWN_BASE" ? base + value(offset) : value(own), name);
  }
});
