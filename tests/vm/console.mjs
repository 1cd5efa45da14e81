// A shell on the guest's serial console.

const MINUTE = 60_000;

/** `console` is {onText(listener), send(text)}. One command runs at a time. */
export class Shell {
  #text = "";
  #waiting = new Set();
  #count = 0;
  #last = Promise.resolve();
  #console;

  constructor(console) {
    this.#console = console;
    console.onText((text) => {
      this.#text += text;
      for (const check of [...this.#waiting]) check();
    });
  }

  /** Waits for a pattern, and takes what came up to its end. */
  until(pattern, patience, what) {
    return new Promise((resolve, reject) => {
      const finish = (settle, value) => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        settle(value);
      };
      const check = () => {
        const match = pattern.exec(this.#text);
        if (!match) return;
        const before = this.#text.slice(0, match.index);
        this.#text = this.#text.slice(match.index + match[0].length);
        finish(resolve, { match, before });
      };
      const timer = setTimeout(
        () => finish(reject, new Error(`the guest does not answer in time: ${what}\n${this.#text.slice(-1000)}`)),
        patience,
      );
      this.#waiting.add(check);
      check();
    });
  }

  /** Runs one command, after those before it; resolves to {code, output}. */
  run(command, patience = 2 * MINUTE) {
    const done = this.#last.then(async () => {
      const id = ++this.#count;
      this.#console.send(`{ ${command}\n} 2>&1; r=$?; echo; echo "#done ${id} $r"\n`);
      const { match, before } = await this.until(new RegExp(`\\r?\\n#done ${id} (\\d+)\\r?\\n`), patience, command);
      return { code: Number(match[1]), output: before.replace(/\r/g, "") };
    });
    this.#last = done.catch(() => {});
    return done;
  }

  /** The output of a command that must succeed. */
  async must(command, patience) {
    const { code, output } = await this.run(command, patience);
    if (code !== 0) throw new Error(`in the guest, exit ${code} of: ${command}\n${output.slice(-1000)}`);
    return output;
  }

  /** Waits for the end of the guest's start. */
  async booted() {
    await this.until(/guest: ready [\d.]+\r?\n/, 5 * MINUTE, "its start");
  }

  /** Loads the driver, sets the MTU where one is given, and takes a lease; resolves to what the lease says. */
  async bringUp(mtu) {
    // What a saved state brings along is the time at which it was saved.
    await this.must(`date -s @${Math.round(Date.now() / 1000)} >/dev/null`);
    const output = await this.must(`nic${mtu ? ` mtu ${mtu}` : ""} dhcp`);
    const lease = /guest: bound ip=(\S+)\/\S+ router=(\S+) dns=(\S+) mtu=(\d*)/.exec(output);
    if (!lease) throw new Error(`the guest has no lease:\n${output}`);
    const [, address, router, dns, lan] = lease;
    return { address, router, dns, mtu: Number(lan) };
  }
}
