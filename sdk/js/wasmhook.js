/**
 * A wasmhook hook in JavaScript: values instead of JSON text, verdicts by name.
 *
 *     import { hook, rewrite, log } from "…/sdk/js/wasmhook.js";
 *
 *     export const handler = hook({
 *       pre(request) {
 *         log.info(`${request.ifname} gets an MTU of 1400`);
 *         return rewrite({ ...request.config, mtu: 1400 });
 *       },
 *     });
 *
 * A hook that throws is broken: the operator's `onFailure` decides. To refuse a container, return `deny(…)`.
 * Types stand in `wasmhook.d.ts`.
 */

import { write } from "wasmhook:host/log@0.1.0";

export function hook({ pre = () => proceed, post = () => keep }) {
  return {
    pre: (raw) => lowered(pre(request(raw))),
    post: (raw, got) => lowered(post(request(raw), outcome(got))),
  };
}

export const proceed = { tag: "proceed" };
export const keep = { tag: "keep" };
export const rewrite = (val) => ({ tag: "rewrite", val });
export const answer = (val) => ({ tag: "answer", val });
export const recover = (val) => ({ tag: "recover", val });
export const deny = (msg, { code = 100, details = "" } = {}) => ({ tag: "deny", val: { code, msg, details } });
export const fail = (msg, { code = 100, details = "" } = {}) => ({ tag: "fail", val: { code, msg, details } });

const line = (level) => (message, fields = {}) =>
  write(level, String(message), Object.entries(fields).map(([key, value]) => [key, String(value)]));

export const log = {
  trace: line("trace"),
  debug: line("debug"),
  info: line("info"),
  warn: line("warn"),
  error: line("error"),
};

/** JSON text travels as text; `""` is none. */
const parsed = (text) => (text === "" ? undefined : JSON.parse(text));

function request(raw) {
  const { config, prevResult, hookConfig, carry, extra, args, ...rest } = raw;
  return {
    ...rest,
    args: Object.fromEntries(args),
    config: parsed(config),
    prevResult: parsed(prevResult),
    hookConfig: parsed(hookConfig),
    carry: parsed(carry),
    extra: parsed(extra),
  };
}

function outcome({ tag, val }) {
  return tag === "ok" ? { result: parsed(val) } : { error: val };
}

function lowered(verdict) {
  const isDocument = verdict.val !== undefined && verdict.tag !== "deny" && verdict.tag !== "fail";
  return isDocument ? { ...verdict, val: JSON.stringify(verdict.val) } : verdict;
}
