// What every page's script uses: requests, streams, nodes, toasts. Text from the server becomes text nodes, never markup.
//
//   api(path, {method, body, json, quiet, signal})  JSON of an answer; a failure is shown as a toast and thrown (Failure)
//   sse(path, {name: (data) => ...}, {body, signal})  a stream of events, by GET, or by POST when there is a body
//   job(id, {event, signal})   follows a job until it has ended; gives the job
//   chosen(input)  dropped(event)   [{file, name}] of a choice, of a drop with its folders
//   send(files, {labels, most, began, said})   uploads them in parcels; gives those left out, with the reason
//   pace()   a function of progress events: "4 of 9 · about 2 min left"
//   el("button", {class: "button", onclick: go, aria: {label: "Go"}, data: {id: 1}}, "Go", child)   a node
//   show(node, ...children)    replaces what is in a node
//   toast("Saved")  toast("Not saved", "bad")
//   confirmed("Delete it?", {action: "Delete", danger: true})   a promise of true or false
//   when(seconds|ISO)  size(bytes)  count(3, "file")

export class Failure extends Error {
  constructor(message, status, code, after, param) {
    super(message);
    Object.assign(this, { status, code, after, param });
  }
}

const AWAY = "The server cannot be reached; is it still running?";

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
    throw new Failure(AWAY, 0, "unreachable");
  }
  if (answer.ok) return answer;
  throw failure(answer.status, await answer.json().catch(() => null), answer.headers.get("Retry-After"));
}

function failure(status, said, after) {
  if (status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  return new Failure(said?.error?.message ?? `The server answered ${status}.`, status, said?.error?.code, Number(after) || 0, said?.error?.param);
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
    const { value, done } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : new Failure("The connection to the server broke off.", 0, "unreachable");
    });
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
  let code = ""; // of the error, which only the event of the end tells
  const hear = (data, name) => {
    code = data.code ?? code;
    event(data, name);
  };
  const seen = new Proxy({}, { get: (_, name) => (name === "then" ? undefined : (data) => hear(data, name)) });
  for (let wait = 300; ; wait = Math.min(wait * 1.5, 3000)) {
    await sse(`${path}/events`, seen, { signal }).catch((error) => {
      if (error.name === "AbortError" || (error.status >= 400 && error.status < 500)) throw error;
    });
    const now = await api(path, { quiet: true, signal }).catch((error) => {
      if (error.status) throw error;
    });
    if (now && ENDED.includes(now.state)) return { ...now, code };
    await new Promise((done) => setTimeout(done, wait));
  }
}

// How far a step is and how long it still takes at the speed it had, by the events' own times.
export function pace() {
  const began = new Map();
  return ({ step, done, total, at }) => {
    if (!total) return "";
    const first = began.get(step);
    if (!first || done < first.done || total !== first.total) began.set(step, { at, done, total });
    const { at: since, done: before } = began.get(step);
    const left = done > before ? ((at - since) / (done - before)) * (total - done) : 0;
    const known = at - since >= 3 && left >= 1;
    return `${done.toLocaleString()} of ${total.toLocaleString()}${known ? ` · about ${seconds(left)} left` : ""}`;
  };
}

export const seconds = (value) => (value < 90 ? `${Math.round(value)} s` : value < 5400 ? `${Math.round(value / 60)} min` : `${(value / 3600).toFixed(1)} h`);

/* Files */

const aside = (name) => /^(\.|~\$)/.test(name); // what systems and editors leave behind

export const chosen = (input) => [...input.files].map((file) => ({ file, name: file.webkitRelativePath || file.name })).filter(({ name }) => !(name.includes("/") && name.split("/").some(aside)));

export async function dropped(event) {
  const entries = [...event.dataTransfer.items].map((one) => one.webkitGetAsEntry?.()).filter(Boolean); // gone after the first await
  const plain = [...event.dataTransfer.files].map((file) => ({ file, name: file.name }));
  if (!entries.some((one) => one.isDirectory)) return plain;
  const found = [];
  const walk = async (entry, folder) => {
    const name = folder + entry.name;
    if (entry.isFile) return found.push({ file: await new Promise((done, wrong) => entry.file(done, wrong)), name });
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, wrong) => reader.readEntries(done, wrong)); // a hundred at a time
      if (!some.length) return;
      for (const one of some) if (!aside(one.name)) await walk(one, `${name}/`);
    }
  };
  for (const one of entries) await walk(one, "");
  return found;
}

// `began(job, files)` hears of each parcel's job, `said(share)` how much of all has been sent.
export async function send(files, { labels = [], most, began, said = () => {} }) {
  const room = most * 0.99; // what frames the files counts, too
  const reason = (file) => (!file.size ? "it is empty" : file.size > room ? `it is larger than an upload may be (${size(file.size)}; the limit is ${size(most)}, serve.max_upload_mb)` : "");
  const out = files.filter(({ file }) => reason(file)).map(({ file, name }) => ({ path: name, reason: reason(file) }));
  const parcels = [];
  let held = Infinity;
  for (const one of files.filter(({ file }) => !reason(file))) {
    if (held + one.file.size > room || parcels.at(-1).length >= 500) {
      parcels.push([]);
      held = 0;
    }
    parcels.at(-1).push(one);
    held += one.file.size;
  }
  const weight = (list) => list.reduce((sum, { file }) => sum + file.size, 0);
  const all = weight(parcels.flat());
  let before = 0;
  for (const parcel of parcels) {
    const body = new FormData();
    for (const { file, name } of parcel) body.append("files", file, name);
    for (const label of labels) body.append("labels", label);
    const { job: made } = await posted("/api/documents", body, (bytes) => said(Math.min(1, (before + bytes) / all)));
    before += weight(parcel);
    await began(made, parcel);
  }
  return out;
}

// fetch does not tell how far a body has been sent.
function posted(path, body, progress) {
  return new Promise((done, wrong) => {
    const call = new XMLHttpRequest();
    call.open("POST", path);
    call.responseType = "json";
    if (csrf()) call.setRequestHeader("X-CSRF-Token", csrf());
    call.upload.addEventListener("progress", (event) => progress(event.loaded));
    call.addEventListener("error", () => wrong(new Failure("The files could not be sent: the connection broke off, or one of them was moved or changed.", 0, "unreachable")));
    call.addEventListener("load", () => (call.status < 300 ? done(call.response) : wrong(failure(call.status, call.response, call.getResponseHeader("Retry-After")))));
    call.send(body);
  });
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

document.querySelector('form[action="/logout"]')?.addEventListener("submit", () => sessionStorage.clear()); // a draft is its writer's
