// The Ask page: the composer, the thread, the history. Speaks to /api only.

import { api, confirmed, count, el, show, sse, toast, when } from "./app.js";
import { checked, considered, copied, feedback, origin, refusal, sources, text } from "./answer.js";
import { close, open } from "./source.js";
import { start } from "./start.js";
import { failures } from "./work.js";

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
  question.value = "";
  const models = besides() ? [model.value, model2.value] : [model.value];
  const columns = models.map((id, index) => ({ id, index, named: models.length > 1, ...reply(labels[id] ?? id, models.length > 1) }));
  const turn = el("article", { class: "turn" }, el("h2", { class: "asked" }, asked), el("div", { class: "replies" }, columns.map((one) => one.node)));
  thread.append(turn);
  turn.scrollIntoView({ block: "start", behavior: "smooth" });
  await answered(asked, columns);
}

// All columns at once; what goes wrong in one leaves the others be.
async function answered(asked, columns) {
  const mine = (running = new AbortController());
  draft(asked); // until it is answered: a reload in between gives it back
  busy(true);
  const done = await Promise.all(columns.map((column) => stream(asked, column, mine.signal)));
  if (running !== mine) return; // another conversation was opened meanwhile
  running = null;
  busy(false);
  draft(question.value || (done.includes(null) && !mine.signal.aborted ? asked : "")); // what failed may be asked after a log-in, too
  here(talks[0]);
  $("said").textContent = done.filter(Boolean).map((one) => (one.abstained ? "No answer was found in the documents." : `The answer is here, with ${count(one.citations.length, "citation")}.`)).join(" ");
  history();
}

async function stream(asked, column, signal) {
  const { id, index } = column;
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
    }, { body: { question: asked, model: id, where: "", conversation: talks[index], stream: true }, signal });
    if (!answer) throw new Error("The answer ended early.");
    if (!signal.aborted) talks[index] = answer.conversation ?? talks[index];
    column.finish(answer);
  } catch (error) {
    if (error.name === "AbortError") column.stopped(written);
    else column.wrong(error, written, () => {
      if (running) return;
      const again = { ...column, ...reply(labels[id] ?? id, column.named) };
      column.node.replaceWith(again.node);
      answered(asked, [again]);
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
    wrong: (error, written, again) => {
      rest();
      if (written) node.append(el("p", { class: "note" }, "It broke off here; what stands above is not whole and was not checked."));
      else body.remove();
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
  const bare = checked(answer) && answer.sentences.some((one) => !one.supported);
  const alone = ["base", "tuned"].includes(answer.arm) && !answer.abstained;
  const notes = [...(bare ? ["“no source” marks what no passage that was read bears out; check it before you rely on it"] : []), ...(alone ? ["written from the model's memory alone; no document was read"] : []), ...answer.notes];
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
  const named = new URLSearchParams(location.search).get("model"); // a link to one way of answering, as from a finished training
  const wanted = [named ?? localStorage.getItem("openbook.model"), localStorage.getItem("openbook.model2")];
  const choose = (select, id) => {
    if ([...select.options].some((one) => one.value === id && !one.disabled)) select.value = id;
  };
  choose(model, wanted[0]); // before anyone asks: the options are on the page already
  choose(model2, wanted[1]);
  for (const select of [model, model2]) select.onchange = () => localStorage.setItem(`openbook.${select.id}`, select.value);
  const { arms: found } = await api("/api/arms", { quiet: true });
  labels = Object.fromEntries(found.map((one) => [one.id, one.label]));
  for (const select of [model, model2]) {
    const chosen = select.value;
    show(select, ...found.map((one) => el("option", { value: one.id, disabled: !one.available, title: one.why || null }, one.label)));
    choose(select, chosen);
  }
  $("beside").hidden = found.filter((one) => one.available).length < 2;
}

/* History */

async function history() {
  const { conversations = [] } = await api("/api/conversations", { quiet: true });
  const any = conversations.length > 0;
  const first = any && $("history-toggle").hidden;
  $("history").hidden = !any;
  $("history-toggle").hidden = !any;
  desk.classList.toggle("with-history", any);
  show($("conversations"), ...conversations.map((one) => el("li", { class: talks.includes(one.id) ? "here" : "" },
    el("button", { class: "open", type: "button", title: `${one.title} · ${when(one.changed)}`, onclick: () => (running ? toast("Wait for the answer, or stop it first.") : resume(one.id).catch(() => {})) }, one.title),
    el("button", { class: "drop-it", type: "button", aria: { label: `Delete “${one.title}”` }, title: "Delete", onclick: () => forget(one) }, "×"))));
  if (first && !running) thread.lastElementChild?.scrollIntoView({ block: "start" }); // a bar has come above it
}

async function resume(id, { quiet = false } = {}) {
  const found = await api(`/api/conversations/${encodeURIComponent(id)}`, { quiet });
  fresh();
  talks = [id, null];
  here(id);
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
  if (talks.includes(one.id)) {
    fresh();
    window.history.replaceState(null, "", "/");
  }
  await history();
  question.focus();
}

function fresh() {
  running?.abort();
  running = null;
  busy(false);
  draft(question.value);
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

// The address says which conversation is open, so that reloading and going back find it again.
function here(id) {
  const address = id ? `/?${new URLSearchParams({ conversation: id })}` : "/";
  if (address !== location.pathname + location.search) window.history.pushState(null, "", address);
}

const wanted = () => new URLSearchParams(location.search).get("conversation");

async function go() {
  if (wanted() === talks[0]) return;
  if (!wanted()) return fresh();
  await resume(wanted(), { quiet: true }).catch(() => {
    fresh();
    window.history.replaceState(null, "", "/"); // deleted, or someone else's
  });
}

addEventListener("popstate", () => go().then(history));

/* What is not sent yet, or not answered */

const DRAFT = "openbook.draft";

function draft(words) {
  if (words.trim()) sessionStorage.setItem(DRAFT, words);
  else sessionStorage.removeItem(DRAFT);
}

question.addEventListener("input", () => running || draft(question.value));

$("fresh").addEventListener("click", () => { fresh(); here(null); drawer(false); question.focus(); });
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
  const lead = $("hello").querySelector(".lead");
  lead.textContent = `${count(result.taken, "document")} ready. Every answer shows where it stands in them.`;
  if (result.failed.length) lead.after(failures(result.failed));
  await Promise.allSettled([suggest(), arms()]);
  question.focus();
});
question.value ||= sessionStorage.getItem(DRAFT) ?? "";
const ready = composer.hidden ? [] : [arms(), suggest()];
Promise.allSettled([...ready, go().then(history)]).then(() => document.body.classList.add("ready"));
if (matchMedia("(min-width: 48rem)").matches && !composer.hidden) question.focus();
