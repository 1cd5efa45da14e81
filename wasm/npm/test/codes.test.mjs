// The numbers that cross from Rust to TypeScript are the same on both sides.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { internals } from "./support/internals.mjs";

const { CODES, Kind, eventsOf, leaseOf, failureOf, formatAddress, literalFamily, isUnspecified, unmapped } = await internals(
  "engine/codes",
  "engine/events",
  "address",
);

/** The members of an enum of the Rust crate, name to number. */
function rustEnum(file, name) {
  const source = readFileSync(new URL(`../../src/${file}`, import.meta.url), "utf8");
  const [, body] = new RegExp(`enum ${name} \\{([^}]*)\\}`).exec(source);
  return Object.fromEntries([...body.matchAll(/(\w+) = (\d+),/g)].map(([, member, number]) => [member, Number(number)]));
}

test("failure codes", () => {
  const { Ok, ...failures } = rustEnum("codes.rs", "Code");
  assert.equal(Ok, 0);
  const numbers = Object.values(failures);
  assert.deepEqual(Object.keys(CODES).map(Number), numbers);
  for (const [name, number] of Object.entries(failures)) {
    assert.equal(CODES[number].replace("_", ""), name.toUpperCase());
    assert.notEqual(failureOf(-number).message, undefined, name);
  }
});

test("kinds of events", () => {
  const kinds = rustEnum("encode.rs", "Kind");
  assert.deepEqual(Object.fromEntries(Object.entries(Kind).filter(([name]) => Number.isNaN(Number(name)))), kinds);
});

test("a batch is taken apart, and one that is cut short ends", () => {
  const batch = Uint32Array.of(6, 1, 42, 9, 2, 42, 23, 1, 0, 6);
  const events = [...eventsOf(batch)].map(({ kind, words }) => [kind, ...words]);
  assert.deepEqual(events, [[6, 42], [9, 42, 23], [1]]);
});

test("a lease is taken apart", () => {
  const ipv4 = [4, 0x64400002, 0, 0, 0];
  const words = Uint32Array.from([65535, 120000, 1, ...ipv4, 0, 1, ...ipv4, 16384, 256]);
  const external = [{ address: "100.64.0.2", firstPort: 16384, count: 256 }];
  assert.deepEqual(leaseOf(words), { addresses: ["100.64.0.2"], dns: [], external, mtu: 65535, grace: 120000 });
  assert.equal(leaseOf(new Uint32Array()), undefined);
});

test("addresses as text", () => {
  const ipv6 = (...words) => formatAddress(6, words);
  assert.equal(ipv6(0, 0, 0, 0), "::");
  assert.equal(ipv6(0, 0, 0, 1), "::1");
  assert.equal(ipv6(0x20010db8, 0, 0x00010000, 0), "2001:db8:0:0:1::");
  assert.equal(ipv6(0x20010db8, 0x00000001, 0x00000001, 0x00010001), "2001:db8:0:1:0:1:1:1");
  assert.equal(formatAddress(4, [0xff000001]), "255.0.0.1");
  for (const literal of ["1.2.3.4", "0.0.0.0"]) assert.equal(literalFamily(literal), "ipv4");
  for (const literal of ["::", "[::1]", "1:2:3:4:5:6:7:8", "::ffff:192.0.2.1", "1::8"]) {
    assert.equal(literalFamily(literal), "ipv6", literal);
  }
  for (const name of ["", "1.2.3", "256.1.1.1", "01.2.3.4", "a.b", "::1::", ":::", "1:2:3:4:5:6:7:8:9", "1.2.3.4::", "g::"]) {
    assert.equal(literalFamily(name), undefined, name);
  }
  assert.deepEqual(
    ["::ffff:10.0.0.1", "::FFFF:a9fe:a9fe", "0:0:0:0:0:ffff:c000:201", "::10.0.0.1", "fd00::1", "1.2.3.4"].map(unmapped),
    ["10.0.0.1", "169.254.169.254", "192.0.2.1", "::10.0.0.1", "fd00::1", "1.2.3.4"],
  );
  assert.ok(["::", "0:0:0:0:0:0:0:0", "0.0.0.0", "[::]"].every(isUnspecified));
  assert.ok(!["::1", "1.0.0.0", "0"].some(isUnspecified));
});
