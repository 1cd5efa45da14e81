// The words of a command line.

/** Splits at blanks; single and double quotes keep them, a backslash keeps the next character. */
export function wordsOf(line) {
  const words = [];
  for (const [word] of line.matchAll(/(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\])+/g)) {
    const parts = word.matchAll(/'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)|([^'"\\]+)/g);
    words.push([...parts].map(([, single, double, escaped, plain]) => {
      return single ?? double?.replace(/\\(.)/g, "$1") ?? escaped ?? plain;
    }).join(""));
  }
  return words;
}
