// The tunnel, with connections that the gateway makes.
import { openTunnel } from "./client.mjs";

export const open = ({ url }) => openTunnel(url, { split: true });
