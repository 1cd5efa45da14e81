// Lines typed into a terminal: characters, Backspace, Ctrl-C and Enter.

export class LineEditor {
  #terminal;
  #typed = "";
  #lines = [];
  #waiting;

  constructor(terminal) {
    this.#terminal = terminal;
  }

  /** Prompts; resolves with the next line. */
  line() {
    this.#terminal.write(`$ ${this.#typed}`);
    return new Promise((resolve) => {
      this.#waiting = resolve;
      this.#give();
    });
  }

  /** What the terminal says was typed or pasted. */
  take(data) {
    for (const character of data) {
      if (character === "\r") this.#end(this.#typed);
      else if (character === "\x03") this.#end("");
      else if (character === "\x7f") this.#erase();
      // A line break that is no Enter comes from a command that the page was given.
      else if (character >= " " || character === "\n") this.#add(character);
    }
    this.#give();
  }

  #add(character) {
    this.#typed += character;
    if (this.#waiting !== undefined) this.#terminal.write(character);
  }

  #erase() {
    if (this.#typed === "") return;
    this.#typed = this.#typed.slice(0, -1);
    this.#terminal.write("\b \b");
  }

  #end(line) {
    this.#lines.push(line);
    this.#typed = "";
  }

  #give() {
    if (this.#waiting === undefined || this.#lines.length === 0) return;
    const line = this.#lines.shift();
    const resolve = this.#waiting;
    this.#waiting = undefined;
    this.#terminal.write("\n");
    resolve(line);
  }
}
