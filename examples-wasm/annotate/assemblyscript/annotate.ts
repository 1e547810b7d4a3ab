// Adds a search domain to what containers get for name service, and refuses those that want certain host ports:
// `annotate` in AssemblyScript, a command. What it does stands in the Rust one (`../rust`).
//
// JSON by json-as. An object is read as a map from keys to raw text, so that what nobody looks at keeps its bytes.

import { JSON } from "json-as";

type Members = Map<string, JSON.Raw>;

/** The hook is broken, and this is why. */
function broken(why: string): void {
  process.stderr.write(why + "\n");
  process.exit(1);
}

function readStdin(): string {
  const chunk = new ArrayBuffer(65536);
  const bytes = new Array<u8>();
  for (let size = process.stdin.read(chunk); size > 0; size = process.stdin.read(chunk)) {
    const view = Uint8Array.wrap(chunk, 0, size);
    for (let i = 0; i < size; i++) bytes.push(view[i]);
  }
  return String.UTF8.decodeUnsafe(bytes.dataStart, bytes.length);
}

/** The value's text; `null` where it is absent or null. */
function text(members: Members, key: string): string | null {
  if (!members.has(key)) return null;
  const text = members.get(key).data;
  return text == "null" ? null : text;
}

function asObject(text: string | null, what: string): Members {
  if (text === null) return new Map<string, JSON.Raw>();
  if (!text.startsWith("{")) broken(what + ": not an object");
  return JSON.parse<Members>(text);
}

function asList(text: string | null, what: string): JSON.Raw[] {
  if (text === null) return [];
  if (!text.startsWith("[")) broken(what + ": not a list");
  return JSON.parse<JSON.Raw[]>(text);
}

function asString(text: string, what: string): string {
  if (!text.startsWith('"')) broken(what + ": not a string");
  return JSON.parse<string>(text);
}

function asPort(text: string, what: string): i32 {
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9 || i > 4) broken(what + ": not a port");
  }
  const number = <i32>parseInt(text);
  if (number > 65535) broken(what + ": not a port");
  return number;
}

class Settings {
  search: string | null = null;
  forbiddenPorts: i32[] = [];

  constructor(config: string | null) {
    const members = asObject(config, "`config` of this hook");
    const keys = members.keys();
    for (let i = 0; i < keys.length; i++) {
      const value = text(members, keys[i]);
      if (keys[i] == "search") {
        if (value !== null) this.search = asString(value, "`config.search`");
      } else if (keys[i] == "forbiddenPorts") {
        const ports = asList(value, "`config.forbiddenPorts`");
        for (let at = 0; at < ports.length; at++) {
          this.forbiddenPorts.push(asPort(ports[at].data, "`config.forbiddenPorts`"));
        }
      } else {
        broken("`config." + keys[i] + "` is unknown: write `search` or `forbiddenPorts`");
      }
    }
  }
}

function pre(settings: Settings, request: Members): string {
  const config = asObject(text(request, "config"), "the configuration");
  const runtime = asObject(text(config, "runtimeConfig"), "`runtimeConfig`");
  const mappings = asList(text(runtime, "portMappings"), "`runtimeConfig.portMappings`");
  for (let i = 0; i < mappings.length; i++) {
    const mapping = asObject(mappings[i].data, "`runtimeConfig.portMappings`");
    // podman writes `hostPort`, containerd `HostPort`.
    let wanted = text(mapping, "hostPort");
    if (wanted === null) wanted = text(mapping, "HostPort");
    if (wanted === null) continue;
    const number = asPort(wanted, "`runtimeConfig.portMappings`");
    if (settings.forbiddenPorts.includes(number)) {
      process.stderr.write("refused host port " + number.toString() + "\n");
      const msg = "host port " + number.toString() + " is not allowed here";
      return '{"verdict":"deny","error":{"code":100,"msg":"' + msg + '","details":""}}';
    }
  }
  return '{"verdict":"proceed"}';
}

function post(settings: Settings, request: Members): string {
  const keep = '{"verdict":"keep"}';
  const search = settings.search;
  const found = text(asObject(text(request, "outcome"), "the outcome"), "result");
  if (search === null || found === null) return keep;
  const result = asObject(found, "the result");
  const dns = asObject(text(result, "dns"), "`dns`");
  const domains = asList(text(dns, "search"), "`dns.search`");
  for (let i = 0; i < domains.length; i++) {
    if (asString(domains[i].data, "`dns.search`") == search) return keep;
  }
  domains.push(new JSON.Raw(JSON.stringify<string>(search)));
  dns.set("search", new JSON.Raw(JSON.stringify<JSON.Raw[]>(domains)));
  result.set("dns", new JSON.Raw(JSON.stringify<Members>(dns)));
  return '{"verdict":"rewrite","result":' + JSON.stringify<Members>(result) + "}";
}

const request = asObject(readStdin(), "the request");
const settings = new Settings(text(request, "hookConfig"));
const before = text(request, "phase") == '"pre"';
if (text(request, "verb") != '"ADD"') {
  process.stdout.write(before ? '{"verdict":"proceed"}' : '{"verdict":"keep"}');
} else {
  process.stdout.write(before ? pre(settings, request) : post(settings, request));
}
