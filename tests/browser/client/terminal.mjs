// A terminal (xterm.js) in a page of another frame, as a person has it before them.

/** What it shows. */
export function shown(frame) {
  const rows = frame.contentDocument.querySelectorAll(".xterm-rows > div");
  return [...rows].map((row) => row.textContent.replaceAll("\u00a0", " ")).join("\n");
}

/** Types a line, as a keyboard does it. */
export function typeLine(frame, line) {
  const { InputEvent, KeyboardEvent } = frame.contentWindow;
  const input = frame.contentDocument.querySelector(".xterm textarea");
  input.dispatchEvent(new InputEvent("input", { data: line, inputType: "insertText", composed: true, bubbles: true }));
  // While a key is down, xterm.js takes what is put in for its echo.
  for (const kind of ["keydown", "keyup"]) {
    input.dispatchEvent(new KeyboardEvent(kind, { key: "Enter", keyCode: 13, bubbles: true }));
  }
}

/** Resolves once `condition()` is true. */
export async function until(condition) {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 50));
}
