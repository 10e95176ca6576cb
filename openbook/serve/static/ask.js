// The Ask page: the composer, the thread, the history. Speaks to /api only.

import { api, confirmed, count, el, show, sse, toast, when } from "./app.js";
import { considered, copied, feedback, origin, refusal, sources, text } from "./answer.js";
import { close, open } from "./source.js";
import { start } from "./start.js";

const $ = (id) => document.getElementById(id);
const [thread, composer, question, model, model2] = ["thread", "composer", "question", "model", "model2"].map($);
const desk = document.querySelector(".desk");
let talks = [null, null]; // the conversation of each column
let labels = {};
let running = null;

/* Asking */

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  ask(question.value.trim());
});
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    composer.requestSubmit();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName) && !composer.hidden) {
    event.preventDefault();
    question.focus();
  }
});
$("stop").addEventListener("click", () => running?.abort());

async function ask(asked) {
  if (!asked || running) return;
  running = new AbortController();
  question.value = "";
  busy(true);
  const models = besides() ? [model.value, model2.value] : [model.value];
  const columns = models.map((id) => reply(labels[id] ?? id, models.length > 1));
  const turn = el("article", { class: "turn" }, el("h2", { class: "asked" }, asked), el("div", { class: "replies" }, columns.map((one) => one.node)));
  thread.append(turn);
  turn.scrollIntoView({ block: "start", behavior: "smooth" });
  const done = await Promise.all(columns.map((column, index) => stream(asked, models[index], index, column)));
  running = null;
  busy(false);
  $("said").textContent = done.filter(Boolean).map((one) => (one.abstained ? "No answer was found in the documents." : `The answer is here, with ${count(one.citations.length, "citation")}.`)).join(" ");
  history();
}

async function stream(asked, id, index, column) {
  let written = "";
  let answer = null;
  const silent = setInterval(async () => {
    const ready = await fetch("/readyz").then((one) => one.json(), () => null);
    if (!written && !answer) column.waits(ready?.status === "starting" ? "Loading the model…" : "Looking…");
  }, 1500);
  try {
    await sse("/api/ask", {
      piece: ({ text }) => {
        clearInterval(silent);
        column.write((written += text));
      },
      answer: (said) => { answer = said; },
      error: ({ error }) => { throw new Error(error?.message ?? "The answer ended early."); },
    }, { body: { question: asked, model: id, where: "", conversation: talks[index], stream: true }, signal: running.signal });
    if (!answer) throw new Error("The answer ended early; ask again.");
    talks[index] = answer.conversation ?? talks[index];
    column.finish(answer);
  } catch (error) {
    if (error.name === "AbortError") column.stopped(written);
    else column.wrong(error, () => {
      if (running) return;
      column.node.closest(".turn").remove();
      ask(asked);
    });
    if (error.code === "no_such_conversation") talks[index] = null; // deleted in another window: begin anew
  } finally {
    clearInterval(silent);
  }
  return answer;
}

function busy(now) {
  $("send").hidden = now;
  $("stop").hidden = !now;
  document.body.classList.add("has-thread");
  $("hello").hidden = $("suggested").hidden = true;
  if (!now && document.activeElement === document.body) question.focus({ preventScroll: true });
}

function reply(label, named) {
  const body = el("div", { class: "answer-text waiting", aria: { busy: "true" } }, el("span", { class: "muted" }, "Looking…"));
  const head = named && el("div", { class: "reply-head" }, el("span", { class: "badge" }, label));
  const node = el("section", { class: "reply", aria: { label: named ? `Answer of ${label}` : "Answer" } }, head, body);
  const rest = () => {
    body.classList.remove("waiting");
    body.removeAttribute("aria-busy");
  };
  return {
    node,
    write: (so) => { body.textContent = so; },
    waits: (why) => { body.querySelector(".muted")?.replaceChildren(why); },
    finish: (answer) => { rest(); fill(node, body, answer); },
    stopped: (written) => {
      rest();
      body.textContent = written;
      node.append(el("p", { class: "note" }, written ? "Stopped here; what stands above was not checked against the documents." : "Stopped."));
    },
    wrong: (error, again) => {
      rest();
      if (body.querySelector(".muted")) body.remove();
      const pause = error.after ? ` Try again in ${count(error.after, "second")}.` : "";
      node.append(el("p", { class: "notice bad", role: "alert" }, error.message, pause), el("p", {}, el("button", { class: "button small", type: "button", onclick: again }, "Ask again")));
    },
  };
}

function fill(node, body, answer) {
  const passages = considered(answer, open);
  if (answer.abstained) {
    body.replaceWith(refusal(answer, () => { passages.open = true; passages.querySelector("summary").focus(); }));
  } else {
    show(body, ...text(answer, open));
    const list = sources(answer, open);
    if (list) node.append(list);
  }
  const alone = ["base", "tuned"].includes(answer.arm) && !answer.abstained;
  const notes = [...(alone ? ["written from the model's memory alone; no document was read"] : []), ...answer.notes];
  const marks = feedback(answer);
  node.append(
    ...notes.map((note) => el("p", { class: "note" }, note[0].toUpperCase() + note.slice(1) + (/[.!?]$/.test(note) ? "" : "."))),
    el("div", { class: "reply-foot" }, el("button", { class: "button quiet small", type: "button", onclick: () => copy(copied(answer)) }, "Copy"), marks.buttons),
    marks.form, ...[passages, origin(answer)].filter(Boolean));
}

async function copy(words) {
  try {
    await navigator.clipboard.writeText(words);
  } catch {
    const area = el("textarea", { class: "visually-hidden", value: words });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast("Copied");
}

/* Who answers */

const besides = () => $("beside").getAttribute("aria-pressed") === "true";

$("beside").addEventListener("click", () => {
  const now = !besides();
  $("beside").setAttribute("aria-pressed", String(now));
  $("second").hidden = !now;
  document.body.classList.toggle("beside", now);
  if (now && model2.value === model.value) model2.value = [...model2.options].find((one) => !one.disabled && one.value !== model.value)?.value ?? model.value;
});

async function arms() {
  const { arms: found } = await api("/api/arms", { quiet: true });
  labels = Object.fromEntries(found.map((one) => [one.id, one.label]));
  for (const select of [model, model2]) {
    const chosen = localStorage.getItem(`openbook.${select.id}`) ?? select.value;
    show(select, ...found.map((one) => el("option", { value: one.id, disabled: !one.available, title: one.why || null }, one.label)));
    if (found.some((one) => one.id === chosen && one.available)) select.value = chosen;
    select.onchange = () => localStorage.setItem(`openbook.${select.id}`, select.value);
  }
  $("beside").hidden = found.filter((one) => one.available).length < 2;
}

/* History */

async function history() {
  const { conversations = [] } = await api("/api/conversations", { quiet: true });
  const any = conversations.length > 0;
  $("history").hidden = !any;
  $("history-toggle").hidden = !any;
  desk.classList.toggle("with-history", any);
  show($("conversations"), ...conversations.map((one) => el("li", { class: talks.includes(one.id) ? "here" : "" },
    el("button", { class: "open", type: "button", title: `${one.title} · ${when(one.changed)}`, onclick: () => resume(one.id) }, one.title),
    el("button", { class: "drop-it", type: "button", aria: { label: `Delete “${one.title}”` }, title: "Delete", onclick: () => forget(one) }, "×"))));
}

async function resume(id) {
  if (running) return;
  const found = await api(`/api/conversations/${encodeURIComponent(id)}`);
  fresh();
  talks = [id, null];
  document.body.classList.add("has-thread");
  $("hello").hidden = $("suggested").hidden = true;
  for (const one of found.answers ?? []) {
    const column = reply("", false);
    thread.append(el("article", { class: "turn" }, el("h2", { class: "asked" }, one.question), el("div", { class: "replies" }, column.node)));
    column.finish({ ...one.answer, id: one.id });
  }
  thread.lastElementChild?.scrollIntoView({ block: "start" });
  drawer(false);
  history();
}

async function forget(one) {
  if (!(await confirmed(`Delete “${one.title}”?`, { action: "Delete", danger: true, more: "The questions and answers of this conversation are removed for good." }))) return;
  await api(`/api/conversations/${encodeURIComponent(one.id)}`, { method: "DELETE" });
  if (talks.includes(one.id)) fresh();
  await history();
  question.focus();
}

function fresh() {
  running?.abort();
  talks = [null, null];
  show(thread);
  close();
  document.body.classList.remove("has-thread");
  $("hello").hidden = false;
  $("suggested").hidden = !$("chips").children.length;
  for (const one of document.querySelectorAll(".history .here")) one.classList.remove("here");
}

function drawer(now) {
  $("history").classList.toggle("open", now);
  $("history-toggle").setAttribute("aria-expanded", String(now));
}

$("fresh").addEventListener("click", () => { fresh(); drawer(false); question.focus(); });
$("history-toggle").addEventListener("click", () => {
  drawer(!$("history").classList.contains("open"));
  if ($("history").classList.contains("open")) $("fresh").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !$("history").classList.contains("open") || document.querySelector("dialog[open]")) return;
  drawer(false);
  $("history-toggle").focus();
});
document.addEventListener("click", (event) => !event.target.closest(".history, #history-toggle, dialog") && drawer(false));

/* Questions to begin with */

async function suggest() {
  const { questions = [] } = await api("/api/suggestions", { quiet: true });
  show($("chips"), ...questions.map((one) => el("button", { class: "chip", type: "button", onclick: () => ask(one) }, one)));
  $("suggested").hidden = !questions.length || document.body.classList.contains("has-thread");
}

start(async (result) => {
  $("hello").hidden = composer.hidden = false;
  const taken = (result.added ?? 0) + (result.changed ?? 0) + (result.unchanged ?? 0);
  $("hello").querySelector(".lead").textContent = `${count(taken, "document")} ready. Every answer shows where it stands in them.`;
  await Promise.allSettled([suggest(), arms()]);
  question.focus();
});
const ready = composer.hidden ? [] : [arms(), suggest()];
Promise.allSettled([...ready, history()]).then(() => document.body.classList.add("ready"));
if (matchMedia("(min-width: 48rem)").matches && !composer.hidden) question.focus();
