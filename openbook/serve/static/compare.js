// The Compare page: cases, arms, a comparison's progress, reports.

import { api, el, show, when } from "./app.js";
import { $, Files, droppable, empty, following, going, reviewed, table } from "./work.js";

const files = new Files($("list"), { purposes: { evals: "cases", "fine-tune": "examples" }, uses: { cases: "questions to ask", conversations: "conversations to answer", examples: "examples to show beforehand" }, none: "No files of your own yet. One case a line: {\"question\": …, \"answer\": …}" });
const PLAIN = { base: "The model alone", rag: "With your documents", tuned: "Trained on your examples", "tuned+rag": "Trained, with your documents" };

async function arms() {
  const { adapters } = await api("/api/adapters");
  const wanted = new URLSearchParams(location.search).get("adapter");
  const known = adapters.map((one) => ({ ...one, ref: `${one.name}@${one.version}` })).reverse();
  const first = known.find((one) => one.ref === wanted) ?? known.find((one) => one.promoted) ?? known[0];
  show($("arms"), Object.entries(PLAIN).map(([arm, label]) => {
    const needs = arm.startsWith("tuned") && !known.length;
    return el("label", { class: "check" }, el("input", { type: "checkbox", name: "arm", value: arm, checked: !needs, disabled: needs }),
      el("span", { class: needs ? "muted" : null }, label, el("span", { class: "muted small" }, needs ? " · nothing is trained yet" : ` · ${arm}`)));
  }), known.length ? el("label", { class: "field" }, el("span", {}, "Which adapter"), el("select", { id: "adapter" }, known.map((one) => el("option", { value: one.ref, selected: one === first }, `${one.ref}${one.promoted ? ", promoted" : ""}`)))) : null);
}

function order() {
  const ticked = (name) => [...document.querySelectorAll(`input[name=${name}]:checked`)].map((one) => one.value);
  const skip = [...document.querySelectorAll("input[name=measure]:not(:checked)")].map((one) => one.value);
  const chosen = ticked("arm"), adapter = $("adapter")?.value;
  return {
    cases: files.chosen("cases"), conversations: files.chosen("conversations"), examples: files.chosen("examples"), reviewed: $("reviewed").checked, made: $("made-on").checked ? Number($("made").value) : 0, arms: chosen, skip, seed: Number($("seed").value), title: $("title").value.trim(),
    tuned: adapter && chosen.includes("tuned") ? [adapter] : [], both: adapter && chosen.includes("tuned+rag") ? [adapter] : [],
  };
}

async function begin() {
  const wrong = $("wrong");
  const refuse = (text, field) => { wrong.textContent = text; wrong.hidden = false; field?.focus(); };
  wrong.hidden = true;
  const wanted = order();
  if ($("made-on").checked && !(Number.isInteger(wanted.made) && wanted.made > 0)) return refuse("Say with a whole number how many questions to make.", $("made"));
  if (!wanted.cases.length && !wanted.conversations.length && !wanted.reviewed && !wanted.made) return refuse("Choose a file of cases, or let questions be made from the library.", $("files"));
  if (!Number.isInteger(wanted.seed)) return refuse("The seed is a whole number.", $("seed"));
  if (!wanted.arms.length) return refuse("Choose at least one way of answering.", $("arms").querySelector("input"));
  try {
    const { job } = await api("/api/compare", { json: wanted, quiet: true });
    follow(job).card.scrollIntoView({ block: "nearest" });
  } catch (error) {
    refuse(error.message);
  }
}

const follow = (job) => following($("jobs"), job, { title: "Comparison", pausable: true, ended: async (now, body) => {
  if (now.state !== "succeeded") return;
  const missing = Object.entries(now.result.missing ?? {});
  body.append(el("p", { class: "notice ok", role: "status" }, now.result.verdict || "The comparison is done."), el("div", { class: "actions" }, el("button", { class: "button primary small", type: "button", onclick: () => open(now.result.report) }, "Read the report")),
    ...(missing.length ? [el("details", { class: "more" }, el("summary", {}, "What was not measured, and why"), missing.map(([name, why]) => el("p", { class: "muted small" }, `${name}: ${why}`)))] : []));
  await reports();
} });

async function reports() {
  const { reports: found } = await api("/api/reports");
  if (!found.length) return show($("reports"), empty("No reports yet", "A first comparison of questions made from your documents takes a few minutes and needs nothing of you."));
  show($("reports"), table(["Report", "Verdict", "Compared", "Made"], found.map((one) => [
    { node: el("button", { class: "link", type: "button", onclick: () => open(one.id) }, one.title || one.id) }, { node: el("div", { class: "break" }, one.verdict ?? "") }, one.arms.join(", "), one.created ? when(one.created) : "",
  ]), { caption: "Reports" }));
}

function open(id) {
  const page = `/api/reports/${encodeURIComponent(id)}/page`;
  show($("report"), el("div", { class: "row between" }, el("h3", {}, "Report"), el("div", { class: "actions" }, el("a", { class: "button small", href: page, target: "_blank", rel: "noopener" }, "Open in a window of its own"), el("button", { class: "button quiet small", type: "button", onclick: () => { $("report").hidden = true; show($("report")); } }, "Close"))),
    el("iframe", { class: "framed", src: page, title: "Report of the comparison" }));
  $("report").hidden = false;
  $("report").scrollIntoView({ block: "start" });
}

droppable($("drop"), $("files"), (list) => files.take(list.map(({ file }) => file)).catch(() => {}));
$("made-on").addEventListener("change", (event) => { $("made-field").hidden = !event.target.checked; });
$("compare").addEventListener("submit", (event) => { event.preventDefault(); begin(); });
await Promise.all([files.load(), arms(), reports(), reviewed($("reviewed"), $("reviewed-note"), "case")]).catch(() => {});
(await going("compare")).forEach(follow);
document.body.classList.add("ready");
