/** Something made of WebAssembly that is compiled when it is first wanted. */
export class Lazy<T> {
  readonly #name: string;
  readonly #compile: () => Promise<WebAssembly.Module>;
  readonly #make: (module: WebAssembly.Module) => T;
  #value: Promise<T> | undefined;

  /** @param name - the entry of the package that is to blame where it cannot be loaded */
  constructor(name: string, compile: () => Promise<WebAssembly.Module>, make: (module: WebAssembly.Module) => T) {
    this.#name = name;
    this.#compile = compile;
    this.#make = make;
  }

  /** @throws Error where it cannot be loaded; the next call tries again */
  get(): Promise<T> {
    this.#value ??= this.#start();
    return this.#value;
  }

  async #start(): Promise<T> {
    try {
      return this.#make(await this.#compile());
    } catch (error) {
      // A network that is back may serve it the next time.
      this.#value = undefined;
      throw new Error(`the WebAssembly of ${this.#name} cannot be loaded: ${String(error)}`);
    }
  }
}
