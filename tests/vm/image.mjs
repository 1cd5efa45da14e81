// The guest that examples/vm/guest/build.py makes, by `cargo xtask test -k vm` in target/vm-guest.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Its folder. */
export const IMAGE = process.env.VM_GUEST ?? fileURLToPath(new URL("../../target/vm-guest", import.meta.url));

if (!existsSync(`${IMAGE}/manifest.json`)) {
  throw new Error("there is no guest: python3 examples/vm/guest/build.py --out target/vm-guest");
}

// Without the kernel's tests of itself, and with nothing that waits for hardware which is not there.
export const KERNEL = [
  "console=ttyS0 quiet nosmp tsc=reliable mitigations=off random.trust_cpu=on no_timer_check 8250.nr_uarts=1 panic=-1",
  "net.ifnames=0 noisapnp cryptomgr.notests",
  "initcall_blacklist=init_kprobe_trace,load_system_certificate_list,crypto_kdf108_init,slab_sysfs_init,isapnp_init",
].join(" ");
