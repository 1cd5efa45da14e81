// Numbers for people.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** `octets(1536)` is "1.5 KiB". */
export function octets(count) {
  let unit = 0;
  while (count >= 1024 && unit < UNITS.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(count) : count.toFixed(count < 10 ? 2 : count < 100 ? 1 : 0)} ${UNITS[unit]}`;
}

/** Octets per second as bits per second, as speeds of lines are told. */
export function rate(octetsPerSecond) {
  const bits = 8 * octetsPerSecond;
  if (bits === 0) return "0";
  if (bits >= 1e9) return `${(bits / 1e9).toFixed(2)} Gbit/s`;
  if (bits >= 1e6) return `${(bits / 1e6).toFixed(bits < 1e7 ? 1 : 0)} Mbit/s`;
  return `${(bits / 1e3).toFixed(bits < 1e4 ? 1 : 0)} kbit/s`;
}

/** `milliseconds(0.42)` is "0.4 ms". */
export function milliseconds(value) {
  return value < 100 ? `${value.toFixed(1)} ms` : value < 10_000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}

/** An address and a port, with brackets around IPv6. */
export function endpoint(address, port) {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
