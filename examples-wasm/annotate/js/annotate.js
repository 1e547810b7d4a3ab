// Adds a search domain to what containers get for name service, and refuses those that want certain host ports:
// `annotate` in JavaScript. What it does stands in the Rust one (`../rust`).

import { deny, hook, keep, log, proceed, rewrite } from "../../../sdk/js/wasmhook.js";

const isPort = (it) => Number.isInteger(it) && it >= 0 && it <= 65535;
const isObject = (it) => typeof it === "object" && it !== null && !Array.isArray(it);

function expect(holds, what) {
  if (!holds) throw new Error(what);
}

function settings({ hookConfig }) {
  expect(isObject(hookConfig), "`config` of this hook: not an object");
  const { search, forbiddenPorts, ...unknown } = hookConfig;
  for (const key in unknown) expect(false, `\`config.${key}\` is unknown: write \`search\` or \`forbiddenPorts\``);
  expect(typeof (search ?? "") === "string", "`config.search`: not a string");
  const forbidden = forbiddenPorts ?? [];
  expect(Array.isArray(forbidden) && forbidden.every(isPort), "`config.forbiddenPorts`: not a list of ports");
  return { search, forbidden };
}

/** podman writes `hostPort`, containerd `HostPort`. */
function hostPorts({ config }) {
  const mappings = config.runtimeConfig?.portMappings ?? [];
  const ports = mappings.map((it) => it.hostPort ?? it.HostPort).filter((it) => it != null);
  expect(ports.every(isPort), "`runtimeConfig.portMappings`: a host port that is none");
  return ports;
}

export const handler = hook({
  pre(request) {
    const { forbidden } = settings(request);
    if (request.verb !== "ADD") return proceed;
    const port = hostPorts(request).find((it) => forbidden.includes(it));
    if (port === undefined) return proceed;
    log.info(`refused host port ${port}`);
    return deny(`host port ${port} is not allowed here`);
  },

  post(request, { result }) {
    const { search } = settings(request);
    if (request.verb !== "ADD" || result === undefined || search == null) return keep;
    const domains = result.dns?.search ?? [];
    if (domains.includes(search)) return keep;
    return rewrite({ ...result, dns: { ...result.dns, search: [...domains, search] } });
  },
});
