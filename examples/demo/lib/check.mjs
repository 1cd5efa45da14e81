// `?check=URL`: every panel runs once by itself, and the results are posted to URL.
import { explainShortly } from "./explain.mjs";

const LIMIT = 45_000;

/** Once more after a second: Chromium gives up requests while an address of the machine changes. */
async function post(url, report) {
  // Without a content type of its own the request is a simple one, and needs no preflight.
  const request = () => fetch(url, { method: "POST", body: JSON.stringify(report) });
  try {
    await request();
  } catch {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await request();
  }
}

/** Runs the panels one after the other. */
export async function checkAll(panels, url) {
  await post(url, { kind: "begin", panels: panels.map(({ name }) => name) });
  for (const { name, check } of panels) {
    const began = performance.now();
    const outcome = await within(check).then(
      (detail) => ({ ok: true, detail }),
      (error) => ({ ok: false, detail: explainShortly(error) }),
    );
    await post(url, { kind: "panel", name, ms: performance.now() - began, ...outcome });
  }
  await post(url, { kind: "end" });
}

function within(check) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no result within ${LIMIT / 1000} s`)), LIMIT);
  });
  return Promise.race([check(), late]).finally(() => clearTimeout(timer));
}

/**
 * A picture is taken when the load event comes. An image that is answered only at the end of the check holds it back.
 */
export function holdLoadEvent(url) {
  const image = new Image();
  image.src = url;
  image.hidden = true;
  document.body.append(image);
}
