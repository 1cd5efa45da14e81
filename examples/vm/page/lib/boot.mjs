// The machine itself: v86 with the guest that build.mjs has made.
import { V86 } from "v86";

const MEMORY = 128 << 20;

// Without the kernel's tests of itself, and with nothing that waits for hardware which is not there.
const KERNEL = [
  "console=ttyS0 quiet nosmp tsc=reliable mitigations=off random.trust_cpu=on no_timer_check 8250.nr_uarts=1 panic=-1",
  "net.ifnames=0 noisapnp cryptomgr.notests",
  "initcall_blacklist=init_kprobe_trace,load_system_certificate_list,crypto_kdf108_init,slab_sysfs_init,isapnp_init",
].join(" ");

async function image(name) {
  const url = new URL(`../guest/${name}`, import.meta.url);
  const response = await fetch(url);
  if (!response.ok) throw new Error(`the guest's ${name} is not there (HTTP ${response.status}): node examples/vm/build.mjs makes it`);
  return { buffer: await response.arrayBuffer() };
}

/**
 * Makes a machine that does not run yet.
 *
 * @param terminal - rows and columns of the console
 * @param mtu - of the network card
 */
export async function makeMachine({ rows, cols }, mtu) {
  const [bios, vga_bios, bzimage, initrd] = await Promise.all(["bios.bin", "vgabios.bin", "bzImage", "initrd.gz"].map(image));
  const emulator = new V86({
    wasm_path: new URL("../v86/v86.wasm", import.meta.url).href,
    memory_size: MEMORY,
    vga_memory_size: 2 << 20,
    bios,
    vga_bios,
    bzimage,
    initrd,
    cmdline: `${KERNEL} terminal=${rows}x${cols}`,
    // No relay: the adapter takes the card's frames.
    net_device: { type: "virtio", mtu },
    fastboot: true,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
    autostart: false,
  });
  await new Promise((resolve) => emulator.add_listener("emulator-loaded", resolve));
  return emulator;
}
