// What every page's script uses: requests, streams, nodes, toasts. Text from the server becomes text nodes, never markup.
//
//   api(path, {method, body, json, quiet, signal})  JSON of an answer; a failure is shown as a toast and thrown (Failure)
//   sse(path, {name: (data) => ...}, {body, signal})  a stream of events, by GET, or by POST when there is a body
//   job(id, {event, signal})   follows a job until it has ended; gives the job
//   el("button", {class: "button", onclick: go, aria: {label: "Go"}, data: {id: 1}}, "Go", child)   a node
//   show(node, ...children)    replaces what is in a node
//   toast("Saved")  toast("Not saved", "bad")
//   confirmed("Delete it?", {action: "Delete", danger: true})   a promise of true or false
//   when(seconds|ISO)  size(bytes)  count(3, "file")

export class Failure extends Error {
  constructor(message, status, code, after) {
    super(message);
    Object.assign(this, { status, code, after });
  }
}

const csrf = () => document.querySelector("meta[name=csrf]")?.content ?? "";

async function request(path, { method, body, json, signal, accept = "application/json" } = {}) {
  const headers = { Accept: accept };
  if (json !== undefined) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(json);
  }
  if (csrf()) headers["X-CSRF-Token"] = csrf();
  let answer;
  try {
    answer = await fetch(path, { method: method ?? (body === undefined ? "GET" : "POST"), body, headers, signal, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("The server cannot be reached; is it still running?", 0, "unreachable");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => null);
  if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  throw new Failure(said?.error?.message ?? `The server answered ${answer.status}.`, answer.status, said?.error?.code, Number(answer.headers.get("Retry-After")) || 0);
}

export async function api(path, options = {}) {
  try {
    const answer = await request(path, options);
    return answer.headers.get("Content-Type")?.includes("json") ? await answer.json() : await answer.text();
  } catch (error) {
    if (!options.quiet && error.name !== "AbortError") toast(error.message, "bad");
    throw error;
  }
}

export async function sse(path, handlers, { body, signal } = {}) {
  const answer = await request(path, { json: body, signal, accept: "text/event-stream" });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value.replaceAll("\r\n", "\n");
    let end;
    while ((end = rest.indexOf("\n\n")) >= 0) {
      const event = { name: "message", data: [] };
      for (const line of rest.slice(0, end).split("\n")) {
        if (line.startsWith("event:")) event.name = line.slice(6).trim();
        else if (line.startsWith("data:")) event.data.push(line.slice(line[5] === " " ? 6 : 5));
      }
      rest = rest.slice(end + 2);
      if (!event.data.length) continue;
      const text = event.data.join("\n");
      if (text === "[DONE]") continue;
      await handlers[event.name]?.(JSON.parse(text));
    }
  }
}

const ENDED = ["succeeded", "failed", "cancelled"];

export async function job(id, { event = () => {}, signal } = {}) {
  const path = `/api/jobs/${encodeURIComponent(id)}`;
  const seen = new Proxy({}, { get: (_, name) => (name === "then" ? undefined : (data) => event(data, name)) });
  for (let wait = 300; ; wait = Math.min(wait * 1.5, 3000)) {
    await sse(`${path}/events`, seen, { signal }).catch((error) => {
      if (error.name === "AbortError" || (error.status >= 400 && error.status < 500)) throw error;
    });
    const now = await api(path, { quiet: true, signal }).catch((error) => {
      if (error.status) throw error;
    });
    if (now && ENDED.includes(now.state)) return now;
    await new Promise((done) => setTimeout(done, wait));
  }
}

export function el(tag, given = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "aria") for (const [key, one] of Object.entries(value)) node.setAttribute(`aria-${key}`, one);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false).map((one) => (one instanceof Node ? one : String(one))));
  return node;
}

export const show = (node, ...children) => node.replaceChildren(...children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false));

export function toast(text, kind = "") {
  const region = document.getElementById("toasts");
  const node = el("div", { class: `toast ${kind}`, role: kind === "bad" ? "alert" : null }, el("span", {}, text));
  node.append(el("button", { type: "button", aria: { label: "Dismiss" }, onclick: () => node.remove() }, "×"));
  region.append(node);
  while (region.children.length > 3) region.firstChild.remove();
  setTimeout(() => node.remove(), kind === "bad" ? 12000 : 5000);
}

export function confirmed(text, { action = "Continue", danger = false, more = "" } = {}) {
  return new Promise((resolve) => {
    const dialog = el(
      "dialog", { class: "dialog", aria: { label: text } },
      el("form", { method: "dialog" }, el("h2", {}, text), more && el("p", { class: "muted" }, more),
        el("footer", { class: "actions" }, el("button", { class: "button", value: "" }, "Cancel"), el("button", { class: `button ${danger ? "danger" : "primary"}`, value: "yes" }, action))),
    );
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

export function when(time) {
  const at = new Date(typeof time === "number" ? time * 1000 : time);
  const minutes = Math.round((Date.now() - at) / 60000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${count(minutes, "minute")} ago`;
  if (minutes < 24 * 60) return `${count(Math.round(minutes / 60), "hour")} ago`;
  return at.toLocaleDateString(undefined, { year: "numeric", month: "short", day: "numeric" });
}

export const count = (number, noun, many = `${noun}s`) => `${number.toLocaleString()} ${number === 1 ? noun : many}`;

export function size(bytes) {
  const steps = ["B", "kB", "MB", "GB"];
  let step = 0;
  for (; bytes >= 1000 && step < 3; step++) bytes /= 1000;
  return `${bytes < 10 && step ? bytes.toFixed(1) : Math.round(bytes)} ${steps[step]}`;
}
