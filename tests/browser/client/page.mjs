// The page: asks for a job, does it, and reloads itself, so that each scenario starts from nothing.
import { connect } from "/webtun/index.js";
import { perform } from "./job.mjs";

const response = await fetch(`/next${location.search}`);
if (response.ok) {
  await perform(await response.json(), connect, (entry) => import(`/webtun/${entry}.js`));
  location.reload();
}
