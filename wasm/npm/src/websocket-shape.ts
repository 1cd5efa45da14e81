/** What objects that stand in for a `WebSocket` have in common, whatever is behind them. */
export abstract class WebSocketShape extends EventTarget {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSING = 2;
  static readonly CLOSED = 3;
  readonly CONNECTING = 0;
  readonly OPEN = 1;
  readonly CLOSING = 2;
  readonly CLOSED = 3;
  readonly extensions = "";
  readonly url: string;
  /** The first one that is offered. */
  readonly protocol: string;

  constructor(url: string | URL, protocols: string | string[] = []) {
    super();
    this.url = String(url);
    this.protocol = [protocols].flat()[0] ?? "";
  }
}
