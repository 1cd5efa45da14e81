// The machine that all guests under v86 have, in Node and in browsers.

/**
 * Options for v86. `card` is {nic, mtu, url, keepsDriver}: "virtio" or "ne2k", the MTU, v86's relay_url if it has one, and
 * whether the machine goes on from a state in which the card's driver runs: it then knows another MAC address than the card
 * has, and v86's NE2000 translates, as v86's documentation wants it. `kernel` is the command line, `part` gives what v86 takes
 * for a file of the guest, `wasm` is where v86's WebAssembly is.
 */
export function machineOptions({ nic, mtu, url, keepsDriver = false }, kernel, part, wasm) {
  return {
    wasm_path: wasm,
    memory_size: MEMORY,
    vga_memory_size: 2 << 20,
    bios: part("bios.bin"),
    vga_bios: part("vgabios.bin"),
    bzimage: part("bzImage"),
    initrd: part("initrd.gz"),
    cmdline: kernel,
    net_device: { type: nic, ...(mtu > 1500 && { mtu }), ...(url && { relay_url: url }) },
    mac_address_translation: keepsDriver,
    fastboot: true,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
    autostart: false,
  };
}

/** Octets. */
export const MEMORY = 128 << 20;

/** Has `listener` called with what the machine writes on its serial console. */
export function listen(machine, listener) {
  const decoder = new TextDecoder();
  machine.add_listener("serial0-output-byte", (octet) => listener(decoder.decode(Uint8Array.of(octet), { stream: true })));
}

/** Of EFLAGS: the processor takes interrupts. */
const INTERRUPTIBLE = 0x200;

/**
 * Has frames for an NE2000 wait while the guest takes no interrupts, as `webtun/v86` does by itself. At a door nothing but v86
 * stands between the WebSocket and the card, and v86's interrupt controller stops for good when a request is taken back that
 * the processor has not seen.
 */
export function holdFrames(machine) {
  const { cpu } = machine.v86;
  const card = cpu.devices.net;
  if (!card) return;
  const receive = card.receive.bind(card);
  const held = [];
  const mayInterrupt = () => card.imr === 0 || (cpu.flags[0] & INTERRUPTIBLE) !== 0;
  const drain = () => {
    while (held.length > 0 && mayInterrupt()) receive(held.shift());
    if (!machine.is_running()) held.length = 0;
    if (held.length > 0) setTimeout(drain, 1);
  };
  card.receive = (frame) => {
    held.push(frame);
    if (held.length === 1) drain();
  };
}
