// Host names in other scripts.
import assert from "node:assert/strict";
import { test } from "node:test";
import { internals } from "./support/internals.mjs";

const { asciiName } = await internals("address");

test("names in other scripts become A-labels, and others stay as they are", () => {
  assert.equal(asciiName("Bücher.example"), "xn--bcher-kva.example");
  assert.equal(asciiName("faß.example."), "xn--fa-hia.example.");
  assert.equal(asciiName("日本語.example"), "xn--wgv71a119e.example");
  for (const name of ["WWW.Example", "_dns.resolver.arpa", "a b", "x@y", ""]) assert.equal(asciiName(name), name);
});

test("what a URL would read otherwise is no name", () => {
  for (const name of ["ü/x", "ü:80", "user@ü", "ü?x", "ü#x", "%ü", "ü\\x", "ü x", "ü\u0001"]) {
    assert.equal(asciiName(name), undefined, name);
  }
});
