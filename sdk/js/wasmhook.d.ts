/** One plugin call as the hook sees it. The contract (sdk/wit/hook.wit) says more about each. */
export interface Request {
  /** `ADD`, `DEL`, `CHECK`, `GC` or `STATUS`; an open set. */
  verb: string;
  /** The version that configuration and result are written in. */
  cniVersion: string;
  /** `CNI_CONTAINERID` */
  containerId: string;
  /** `CNI_NETNS`: a path; empty when the runtime gave none. */
  netns: string;
  /** `CNI_IFNAME` */
  ifname: string;
  /** `CNI_ARGS` */
  args: Record<string, string>;
  /** The network's name. */
  network: string;
  /** `type` of the delegate; empty when the hook stands alone. */
  plugin: string;
  /** The configuration that the delegate gets; without a delegate, the wasmhook entry itself. */
  config: Json;
  /** The result of the plugins before, if there is one. */
  prevResult?: Json;
  /** This hook's own `config` in the conflist; `{}` when it has none. */
  hookConfig: any;
  /** Nothing that the hook says will be carried out. */
  dryRun: boolean;
  /** What this hook's `pre` left for its `post`. */
  carry?: any;
  /** What later versions add. */
  extra: Json;
}

/** A JSON object. Numbers are JavaScript's: integers beyond 2^53 lose digits. */
export type Json = { [key: string]: any };

/** What a CNI plugin prints when it fails. */
export interface CniError {
  code: number;
  msg: string;
  details: string;
}

/** What the plugin answered: a result (none for verbs without one), or its error. */
export type Outcome = { result?: Json; error?: undefined } | { error: CniError; result?: undefined };

export type PreVerdict =
  | { tag: "proceed" }
  | { tag: "rewrite"; val: Json }
  | { tag: "answer"; val: Json }
  | { tag: "deny"; val: CniError };

export type PostVerdict =
  | { tag: "keep" }
  | { tag: "rewrite"; val: Json }
  | { tag: "fail"; val: CniError }
  | { tag: "recover"; val: Json };

/** Makes what a module exports as `handler`. A function that is left out changes nothing. */
export function hook(hook: {
  pre?(request: Request): PreVerdict;
  post?(request: Request, outcome: Outcome): PostVerdict;
}): object;

/** Go on with the configuration as it is. */
export const proceed: { tag: "proceed" };
/** The outcome stands. */
export const keep: { tag: "keep" };
/** In `pre`: go on with this configuration. In `post`: this result takes the place of the plugin's. */
export function rewrite(document: Json): { tag: "rewrite"; val: Json };
/** Do not run the plugin: this is its result. */
export function answer(result: Json): { tag: "answer"; val: Json };
/** Do not run the plugin: the call fails with this error, code 100 if not told otherwise. */
export function deny(msg: string, more?: { code?: number; details?: string }): { tag: "deny"; val: CniError };
/** The call fails with this error after all; what was done is undone. */
export function fail(msg: string, more?: { code?: number; details?: string }): { tag: "fail"; val: CniError };
/** This result takes the place of the plugin's error. */
export function recover(result: Json): { tag: "recover"; val: Json };

/** A line in wasmhook's log. */
type Line = (message: string, fields?: Record<string, unknown>) => void;
export const log: { trace: Line; debug: Line; info: Line; warn: Line; error: Line };
