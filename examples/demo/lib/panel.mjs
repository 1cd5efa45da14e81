// The frame that every panel has: a title, a hint, and a line that says how it went.
import { h } from "./dom.mjs";
import { explain } from "./explain.mjs";

/** A card, with `says(text, mood)` for its last line. */
export function card(title, hint, ...children) {
  const line = h("p.says", { role: "status" });
  const element = h("section.card", h("h2", title), h("p.hint", hint), ...children, line);
  const says = (text, mood = "") => {
    line.replaceChildren(text);
    line.dataset.mood = mood;
  };
  const fails = (error) => {
    const { what, hint: more } = explain(error);
    says(what, "bad");
    if (more) line.append(h("small", more));
  };
  return { element, says, fails };
}

/**
 * A button that starts an action and, while it runs, stops it. The action gets an AbortSignal; what it throws is told on
 * the card, unless it was stopped. `start()` is the same as a click, and its promise tells whether the action succeeded.
 */
export function starter(frame, labels, action) {
  let running;
  const button = h("button.primary", { type: "button" }, labels.start);
  const start = async () => {
    running = new AbortController();
    const { signal } = running;
    button.textContent = labels.stop;
    try {
      return await action(signal);
    } catch (error) {
      if (signal.aborted) frame.says("Stopped.");
      else frame.fails(error);
      throw error;
    } finally {
      running = undefined;
      button.textContent = labels.start;
    }
  };
  button.addEventListener("click", () => {
    if (running) running.abort();
    // What it throws has been told on the card.
    else start().catch(() => {});
  });
  return { button, start, stop: () => running?.abort() };
}

/** A form row whose Enter key presses `button`. */
export function row(button, ...children) {
  const form = h("form.row", ...children, button);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    button.click();
  });
  return form;
}
