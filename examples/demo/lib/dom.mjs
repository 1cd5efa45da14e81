// A few lines instead of a framework.

/**
 * Makes an element. `h("p.hint", "text")`, `h("input", { value: 1 }, ...)`: classes after dots, properties in an object
 * (those with a dash as attributes), then children.
 */
export function h(tag, ...rest) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  element.classList.add(...classes);
  for (const item of rest) {
    if (item instanceof Node || typeof item === "string") element.append(item);
    else for (const [key, value] of Object.entries(item)) set(element, key, value);
  }
  return element;
}

function set(element, key, value) {
  // `list` is a read-only property; the attribute is what can be written.
  if (key.includes("-") || key === "list") element.setAttribute(key, value);
  else element[key] = value;
}

/** An input with its label. */
export function field(label, properties, className = "") {
  const input = h("input", { spellcheck: false, autocomplete: "off", autocapitalize: "off", ...properties });
  const wrapped = h("label", label, input);
  if (className) wrapped.classList.add(className);
  return { input, wrapped };
}

/** A list of choices with its label. */
export function choice(label, values, className = "narrow") {
  const input = h("select", ...values.map((value) => h("option", { value }, value)));
  const wrapped = h("label", label, input);
  wrapped.classList.add(className);
  return { input, wrapped };
}

/** Lines of text that scroll; only the latest `limit` are kept. */
export function logBox(limit = 500) {
  const element = h("div.log", { role: "log", tabIndex: 0 });
  const write = (text, kind = "") => {
    const atEnd = element.scrollTop + element.clientHeight >= element.scrollHeight - 20;
    element.append(h(kind ? `div.${kind}` : "div", text));
    while (element.childElementCount > limit) element.firstElementChild.remove();
    if (atEnd) element.scrollTop = element.scrollHeight;
  };
  return { element, write, clear: () => element.replaceChildren() };
}

/** A list of terms with values that change: `facts({ rtt: "Round trip" })`, then `show({ rtt: "3 ms" })`. */
export function facts(terms, figures = []) {
  const values = Object.fromEntries(Object.keys(terms).map((key) => [key, h(figures.includes(key) ? "dd.figure" : "dd", "–")]));
  const element = h("dl.facts", ...Object.entries(terms).map(([key, term]) => h("div", h("dt", term), values[key])));
  const show = (texts) => {
    for (const [key, text] of Object.entries(texts)) values[key].textContent = text;
  };
  return { element, show };
}
