/** What the page can ask of the engine. */
import type { Command, EngineEvent } from "../link/protocol.js";
import type { Context, EngineSocket } from "./context.js";
import { Listener } from "./listener.js";
import type { Outcome } from "./names.js";
import { TcpFlow } from "./tcp-flow.js";
import { UdpFlow } from "./udp-flow.js";

/** The engine as commands see it. */
export interface Commanded extends Context {
  socket(handle: number): EngineSocket | undefined;
  trace(on: boolean): void;
}

/** Carries out one command. A command about a handle that has ended meanwhile does nothing. */
export function execute(engine: Commanded, command: Command): void {
  switch (command.op) {
    case "connect": {
      const { handle, host, port, family, tuning, split = false, credit } = command;
      return new TcpFlow(engine, handle, credit).connect({ host, port, family, tuning }, split);
    }
    case "listen": {
      const { handle, local, backlog = 0, ipv6Only, external } = command;
      return new Listener(engine, handle).listen({ local, backlog, ipv6Only, external });
    }
    case "udp": {
      const { handle, local, remote, family, ipv6Only, external, credit, receiveBufferSize = 0 } = command;
      const request = { local, remote, family, ipv6Only, external, receiveBufferSize };
      return new UdpFlow(engine, handle, credit).open(request);
    }
    case "adopt":
      return engine.socket(command.handle)?.credit(command.credit);
    case "credit":
      return engine.socket(command.handle)?.credit(command.amount);
    case "send":
      return engine.socket(command.handle)?.send(command.data, command.to, command.family);
    case "shutdown":
      return engine.socket(command.handle)?.shutdown();
    case "discard":
      return engine.socket(command.handle)?.discard();
    case "close":
      return engine.socket(command.handle)?.close(command.abort);
    case "resolve":
      engine.names.resolve(command.name, command.family, (outcome) => engine.emit(answer(command.call, outcome)));
      return;
    case "ping": {
      const { host, family, size, timeout, call } = command;
      return engine.names.ping(host, family, size, timeout, (outcome) => engine.emit(answer(call, outcome)));
    }
    case "program": {
      const { attachment } = command;
      void import("../posix/host.js").then(({ ProgramHost }) => new ProgramHost(engine, attachment));
      return;
    }
    case "trace":
      return engine.trace(command.on);
    case "end":
      return engine.stack.close();
  }
}

function answer(call: number, outcome: Outcome<unknown>): EngineEvent {
  if ("failure" in outcome) return { event: "refusal", call, failure: outcome.failure };
  return { event: "answer", call, value: outcome.value };
}
