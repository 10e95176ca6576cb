// What the pages of longer work share: a job with its progress, files to choose, tables, charts. Text stays text.

import { api, chosen, count, dropped, el, job, pace, seconds, show, size, toast, when } from "./app.js";

export { seconds };

const STEPS = { read: "Reading", parse: "Reading", embed: "Learning what is where", write: "Filing", commit: "Filing", load: "Loading the model", tokens: "Looking at the examples", probe: "Trying a few steps", step: "Training", ask: "Asking", search: "Searching", questions: "Making questions", lessons: "Making lessons",
  passages: "Finding passages", "hard negatives": "Finding passages", "choose examples": "Choosing examples to show", time: "Timing", freshness: "Changing documents and asking again", voice: "Telling manners of writing apart", judge: "Judging",
  "unpack weights": "Unpacking the model", trainings: "Training", merge: "Making the adapter ready", "compare trained and served": "Making sure it answers as it was trained",
  ...Object.fromEntries(["arc_easy", "piqa", "lambada", "text_perplexity", "context_use"].map((one) => [one, `Measuring what it forgot: ${one.replace("_", " ")}`])) };
const STATES = { queued: "Waiting for its turn", running: "Running", paused: "Paused", succeeded: "Done", failed: "Failed", cancelled: "Cancelled" };
const LOOKS = { succeeded: "ok", failed: "bad", paused: "warn", cancelled: "warn" };
export const OPEN = ["queued", "running", "paused"];

export const $ = (id) => document.getElementById(id);
export const labels = (text) => text.split(",").map((one) => one.trim()).filter(Boolean);
export const pretty = (step) => STEPS[step] ?? step[0].toUpperCase() + step.slice(1).replaceAll("_", " ");

// A card that follows a job to its end. `ended(job, body)` fills what stands below; `said(event)` hears every event.
export function following(place, first, { title, pausable = false, ended = () => {}, said = () => {} }) {
  const badge = el("span", { class: "badge" }), line = el("span"), figure = el("span"), body = el("div", { class: "stack" });
  const bar = el("progress", { class: "progress", max: "1", aria: { label: `Progress: ${title}` } });
  const meter = el("div", {}, el("div", { class: "progress-line" }, line, figure), bar);
  const wish = (name, label, look = "") => el("button", { type: "button", class: `button small ${look}`, onclick: (event) => ask(name, event.currentTarget) }, label);
  const buttons = { pause: pausable && wish("pause", "Pause"), resume: pausable && wish("resume", "Resume"), cancel: wish("cancel", "Cancel", "danger") };
  const close = el("button", { type: "button", class: "button quiet small", hidden: true, onclick: () => { card.remove(); place.hidden = !place.children.length; } }, "Close");
  const paced = pace();
  const card = el("section", { class: "card stack job", aria: { label: title }, data: { job: first.id } },
    el("header", {}, el("h3", {}, title, " ", badge), el("div", { class: "actions" }, Object.values(buttons).filter(Boolean), close)), meter, body);
  place.prepend(card);
  place.hidden = false;
  state(first.state);

  function state(now) {
    badge.textContent = STATES[now] ?? now;
    badge.className = `badge ${LOOKS[now] ?? "accent"}`;
    card.dataset.state = now;
    meter.hidden = !OPEN.includes(now);
    if (now === "queued") line.textContent = "Waiting for its turn";
    else if (now === "running" && !figure.textContent) line.textContent = "Working…"; // until it says more itself
    if (buttons.pause) buttons.pause.hidden = !["queued", "running"].includes(now);
    if (buttons.resume) buttons.resume.hidden = now !== "paused";
    buttons.cancel.hidden = !OPEN.includes(now);
    close.hidden = OPEN.includes(now);
  }

  async function ask(name, button) {
    button.disabled = true;
    try {
      const now = await api(`/api/jobs/${first.id}/${name}`, { method: "POST" });
      if (name === "resume") state(now.state);
      else if (OPEN.includes(now.state)) line.textContent = name === "pause" ? "Pausing at the next safe place…" : "Stopping…";
    } catch { /* the toast has said it */ } finally {
      button.disabled = false;
    }
  }

  const done = job(first.id, { event: (event) => {
    if (event.state) state(event.state);
    if (event.step !== undefined && event.total !== undefined) {
      line.textContent = `${pretty(String(event.step))}…`;
      figure.textContent = paced(event);
      if (event.total) bar.value = event.done / event.total;
      else bar.removeAttribute("value");
    }
    said(event);
  } }).then(async (now) => {
    state(now.state);
    if (now.error) body.append(el("p", { class: "notice bad", role: "alert" }, now.error));
    await ended(now, body);
    card.dataset.told = "yes"; // all that came of it stands on the page
    return now;
  });
  done.catch((error) => toast(error.message, "bad"));
  return { card, body, done };
}

// Jobs of these kinds that still go on, so that a page opened later shows them.
export async function going(...kinds) {
  const found = await api("/api/jobs", { quiet: true }).catch(() => ({ jobs: [] }));
  return found.jobs.filter((one) => kinds.includes(one.kind) && OPEN.includes(one.state)).reverse();
}

// take([{file, name}]): what was chosen or dropped, folders with all that lies in them.
export function droppable(area, input, take) {
  input.addEventListener("change", () => { if (input.files.length) take(chosen(input)); input.value = ""; });
  for (const name of ["dragenter", "dragover"]) area.addEventListener(name, (event) => { event.preventDefault(); area.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) area.addEventListener(name, () => area.classList.remove("over"));
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    dropped(event).then((list) => (list.length ? take(list) : toast("No file was dropped here.", "bad")), () => toast("This could not be read; was it moved meanwhile?", "bad"));
  });
}

// table(["Name", ["Size", "number"]], rows of [cell, ...]); a cell is a node, text, or {node, class}
export function table(columns, rows, { caption, label } = {}) {
  const heads = columns.map((one) => (Array.isArray(one) ? one : [one, ""]));
  const cell = (one, place) => {
    const [name, look] = heads[place];
    return el("td", { class: look || null, data: name && place ? { label: name } : {} }, one?.node !== undefined ? one.node : one);
  };
  return el("div", { class: "table-wrap", tabindex: "0", role: "region", aria: { label: `${label ?? caption}, table` } },
    el("table", { class: "table cards" }, el("caption", { class: "visually-hidden" }, caption),
      el("thead", {}, el("tr", {}, heads.map(([name, look]) => el("th", { scope: "col", class: look || null }, name || el("span", { class: "visually-hidden" }, "Actions"))))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map(cell))))));
}

export const empty = (title, text, ...more) => el("div", { class: "card flat empty" }, el("p", {}, el("strong", {}, title)), el("p", { class: "muted" }, text), ...more);
export const fact = (name, value) => (value === null || value === undefined || value === "" ? null : [el("dt", {}, name), el("dd", {}, value)]);
export const facts = (...pairs) => el("dl", { class: "facts" }, pairs.filter(Boolean).flat());
export const figure = (value) => (typeof value !== "number" ? String(value) : Math.abs(value) >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString());

// The caller's files of /v1/files as a list of boxes. `purposes`: purpose -> the first use of its files; files dropped here
// get the first purpose. `uses`: use -> its name, of which each ticked file has one; chosen(use) gives the ids.
export class Files {
  constructor(place, { none, purposes, uses }) {
    Object.assign(this, { place, none, purposes, uses, purpose: Object.keys(purposes)[0], list: [], ticked: new Set(), use: new Map() });
  }

  async load() {
    this.list = (await api("/v1/files")).data.filter((one) => one.purpose in this.purposes);
    this.draw();
  }

  useOf(one) {
    return this.use.get(one.id) ?? this.purposes[one.purpose];
  }

  async take(files) {
    for (const file of files) {
      const body = new FormData();
      body.append("purpose", this.purpose);
      body.append("file", file, file.name);
      const made = await api("/v1/files", { body }).catch(() => null);
      if (made) this.ticked.add(made.id);
    }
    await this.load();
  }

  chosen(use) {
    return this.list.filter((one) => this.ticked.has(one.id) && this.useOf(one) === use).map((one) => one.id);
  }

  draw() {
    if (!this.list.length) return show(this.place, el("p", { class: "muted small" }, this.none));
    show(this.place, el("ul", { class: "files" }, this.list.map((one) => {
      const pick = el("select", { aria: { label: `What ${one.filename} is for` }, hidden: !this.ticked.has(one.id), onchange: (event) => this.use.set(one.id, event.target.value) },
        Object.entries(this.uses).map(([use, name]) => el("option", { value: use, selected: use === this.useOf(one) }, name)));
      return el("li", {},
      el("label", { class: "check" }, el("input", { type: "checkbox", checked: this.ticked.has(one.id), onchange: (event) => { this.ticked[event.target.checked ? "add" : "delete"](one.id); pick.hidden = !event.target.checked; } }),
        el("span", {}, one.filename, " ", el("span", { class: "muted small" }, `${size(one.bytes)} · ${when(one.created_at)}`))),
      pick,
      el("button", { class: "button quiet small", type: "button", aria: { label: `Delete ${one.filename}` }, onclick: async () => {
        await api(`/v1/files/${one.id}`, { method: "DELETE" }).then(() => { this.ticked.delete(one.id); return this.load(); }).catch(() => {});
      } }, "Delete"));
    })));
  }
}

// A box that takes what reviewers accepted along; it says how much that is, and is off while that is nothing.
export async function reviewed(box, note, kind) {
  const { entries } = await api("/api/review?state=accepted", { quiet: true });
  const found = entries.filter((one) => one.result?.[kind]).length;
  box.disabled = !found;
  show(note, found ? `${found} accepted` : ["none accepted yet: ", el("a", { href: "/review" }, "review answers")]);
}

export function failures(list) {
  if (!list?.length) return null;
  return el("div", { class: "notice warn" }, el("p", {}, `${count(list.length, "file")} could not be taken in:`),
    el("ul", {}, list.slice(0, 50).map((one) => el("li", {}, el("span", { class: "mono" }, one.path), ": ", one.reason))),
    list.length > 50 && el("p", {}, `and ${list.length - 50} more`));
}

/* Charts */

const NS = "http://www.w3.org/2000/svg";
const [W, H, LEFT, RIGHT, TOP, BOTTOM] = [440, 210, 44, 432, 10, 178];

function svg(tag, given, ...children) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(given)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function ticks(low, high, whole = false) {
  const raw = (high - low || Math.abs(high) || 1) / 4;
  const base = 10 ** Math.floor(Math.log10(raw));
  let step = [1, 2, 2.5, 5, 10].map((one) => one * base).find((one) => one >= raw);
  if (whole) step = Math.max(1, Math.round(step));
  const found = [];
  for (let at = Math.floor(low / step) * step; found.length < 12; at += step) {
    found.push(Number(at.toPrecision(10)));
    if (at >= high) break;
  }
  return found;
}

// lines: [{name, look: "" | "held", points: [[x, y]], dots, bars: [[x, low, high]]}]
export function chart(title, lines, { end = 0, zero = false } = {}) {
  const known = lines.map((one) => ({ ...one, points: one.points.filter(([, y]) => Number.isFinite(y)) }));
  const ys = known.flatMap((one) => [...one.points.map(([, y]) => y), ...(one.bars ?? []).flatMap(([, low, high]) => [low, high])]);
  const caption = [el("figcaption", {}, title), el("div", { class: "keys" }, known.filter((one) => one.name).map((one) => el("span", { class: one.look || null }, one.name)))];
  if (!ys.length) return el("figure", { class: "figure" }, caption, el("p", { class: "muted small" }, "Nothing yet."));
  const rows = ticks(Math.min(...ys, ...(zero ? [0] : [])), Math.max(...ys));
  const last = Math.max(end, ...known.flatMap((one) => one.points.map(([x]) => x)), 1);
  const x = (value) => LEFT + (RIGHT - LEFT) * value / last;
  const y = (value) => BOTTOM - (BOTTOM - TOP) * (value - rows[0]) / (rows.at(-1) - rows[0] || 1);
  const told = known.filter((one) => one.points.length).map((one) => `${one.name || title} from ${figure(one.points[0][1])} to ${figure(one.points.at(-1)[1])}`).join("; ");
  const picture = svg("svg", { class: "chart", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title}: ${told}` });
  for (const row of rows) picture.append(svg("line", { class: "grid", x1: LEFT, x2: RIGHT, y1: y(row), y2: y(row) }), svg("text", { x: LEFT - 6, y: y(row) + 4, "text-anchor": "end" }, figure(row)));
  for (const mark of ticks(0, last, true)) if (mark <= last) picture.append(svg("text", { x: x(mark), y: BOTTOM + 16, "text-anchor": "middle" }, String(mark)));
  picture.append(svg("text", { x: RIGHT, y: H - 2, "text-anchor": "end" }, "step"));
  for (const one of known) {
    for (const [at, low, high] of one.bars ?? []) picture.append(svg("path", { class: "bar", d: `M${x(at)} ${y(low)}V${y(high)}` }));
    if (one.points.length > 1) picture.append(svg("path", { class: `line ${one.look ?? ""}`, d: one.points.map(([a, b], place) => `${place ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("") }));
    if (one.dots || one.points.length === 1) for (const [a, b] of one.points) picture.append(svg("circle", { class: one.look ?? "", cx: x(a), cy: y(b), r: 3.5 }));
  }
  return el("figure", { class: "figure" }, caption, picture);
}
