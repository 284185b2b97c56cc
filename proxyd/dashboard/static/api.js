// The admin API. Every failure is a Problem with a sentence for people.

const PREFIX = "/api/v1";

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `the daemon answered with status ${status}`);
    this.status = status;
    this.code = body.code ?? "";
    this.help = body.help ?? "";
    this.diagnostics = body.diagnostics ?? [];
    this.body = body;
  }
}

const listeners = { login: () => {}, reach: () => {} };

/** What is called when a user is asked for, and when the daemon could (true) or could not (false) be reached. */
export function onTrouble(login, reach) {
  listeners.login = login;
  listeners.reach = reach;
}

function target(path, query) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== "") parameters.append(name, value);
  }
  const text = parameters.toString();
  return PREFIX + path + (text ? `?${text}` : "");
}

export async function send(method, path, { query, body, type = "application/json", signal } = {}) {
  const fields = { "X-Proxyd-Request": "1", Accept: "application/json" };
  if (body !== undefined) fields["Content-Type"] = type;
  let answer;
  try {
    answer = await fetch(target(path, query), {
      method, signal, headers: fields, cache: "no-store",
      body: body === undefined ? undefined : type === "application/json" ? JSON.stringify(body) : body,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    listeners.reach(false);
    throw new Problem(0, { detail: "the daemon does not answer" });
  }
  listeners.reach(true);
  const found = await answer.json().catch(() => ({}));
  if (answer.ok) return found;
  const problem = new Problem(answer.status, found ?? {});
  if (answer.status === 401 && path !== "/session") listeners.login();
  throw problem;
}

export const get = (path, query, signal) => send("GET", path, { query, signal });
export const post = (path, body, query) => send("POST", path, { body, query });

/** The paths that this daemon has, so that what an older one lacks is said in its place, and not asked for. */
const paths = new Set();

export async function learnPaths() {
  paths.clear();
  for (const entry of await get("")) paths.add(`${entry.method} ${entry.path.slice(PREFIX.length).replace(/\{(\w+):[^}]*\}/g, "{$1}")}`);
}

export const has = (method, path) => paths.has(`${method} ${path}`);

/**
 * A stream of server-sent events. `on` maps names of events to handlers of their JSON; returns what ends it.
 * The browser connects again by itself; where it gives up (the session is over, the daemon restarted), we ask why and try on.
 */
export function stream(path, query, on, onState = () => {}) {
  let source = null;
  let timer = 0;
  let ended = false;
  const open = () => {
    source = new EventSource(target(path, query));
    source.onopen = () => onState(true);
    source.onerror = () => {
      onState(false);
      if (source.readyState !== EventSource.CLOSED || ended) return;
      timer = setTimeout(async () => {
        const who = await get("/session").catch(() => null);
        if (who !== null && who.role === null) listeners.login();
        else if (!ended) open();
      }, 2000);
    };
    for (const [name, handler] of Object.entries(on)) {
      source.addEventListener(name, (event) => handler(JSON.parse(event.data), event));
    }
  };
  open();
  return () => {
    ended = true;
    clearTimeout(timer);
    source.close();
  };
}

/** Call `work(signal)` now and then, while the page can be seen; failures go to `onProblem`. Returns what ends it. */
export function poll(work, everyMs, onProblem) {
  const control = new AbortController();
  let timer = 0;
  let busy = false;
  const turn = async () => {
    clearTimeout(timer);
    if (busy || control.signal.aborted) return;
    busy = true;
    try {
      if (!document.hidden) await work(control.signal);
    } catch (error) {
      if (error.name !== "AbortError") onProblem(error);
    }
    busy = false;
    if (!control.signal.aborted) timer = setTimeout(turn, everyMs);
  };
  document.addEventListener("visibilitychange", turn, { signal: control.signal });
  turn();
  const end = () => {
    control.abort();
    clearTimeout(timer);
  };
  end.now = turn;
  return end;
}
