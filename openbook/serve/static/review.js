// The Review page: what people said of answers, accepted as a case or an example, with edits, or rejected.

import { api, el, show, toast, when } from "./app.js";
import { $, empty } from "./work.js";

const WHY = { up: ["Helpful", "ok"], down: ["Not helpful", "bad"], edit: ["Edited", "accent"], refusal: ["Not answered", "warn"] };
const NONE = {
  pending: ["Nothing waits", "Thumbs, edits and questions that were not answered come here. Ask something and say what the answer was worth."],
  accepted: ["Nothing accepted yet", "What you accept stands here until it is exported or used on the Train and Compare pages."],
  rejected: ["Nothing rejected", "What you reject is kept here and used for nothing."],
};
const tabs = [...$("tabs").children];
let state = "pending";

async function load() {
  const { entries, more } = await api(`/api/review?state=${state}`);
  if (!entries.length) return show($("queue"), empty(...NONE[state]));
  show($("queue"), entries.map((one) => (state === "pending" ? waiting(one) : decided(one))), more && el("p", { class: "muted small" }, "There are more; these are the newest."));
}

function told(one) {
  const [word, look] = WHY[one.why] ?? [one.why, ""];
  const answer = one.answer;
  const quotes = answer ? [...new Map(answer.citations.map((each) => [`${each.document}:${each.start}`, each])).values()] : [];
  return [
    el("header", { class: "row between" }, el("span", { class: `badge ${look}` }, word), el("span", { class: "muted small" }, [one.model, when(one.at)].filter(Boolean).join(" · "))),
    one.history.length ? el("details", { class: "more" }, el("summary", {}, "What was said before"), el("div", { class: "stack" }, one.history.map((turn) => el("p", { class: "quote" }, el("strong", {}, turn.role === "user" ? "Asked: " : "Answered: "), turn.content)))) : null,
    el("h2", { class: "asked" }, one.question || one.result?.case?.question || one.result?.example?.messages?.at(-2)?.content || "The conversation was deleted"),
    answer ? el("p", { class: "answer" }, answer.answer) : null,
    one.reason ? el("p", {}, el("strong", {}, "Reason: "), one.reason) : null,
    one.correction ? el("p", { class: "notice" }, el("strong", {}, "As it should be: "), one.correction) : null,
    quotes.length ? el("details", { class: "more" }, el("summary", {}, `Cited: ${[...new Set(quotes.map((each) => each.document))].join(", ")}`),
      el("div", { class: "stack" }, quotes.map((each) => el("blockquote", { class: "quote" }, each.quote, " ", el("a", { href: `/library?${new URLSearchParams({ document: each.document })}` }, each.document))))) : null,
  ];
}

function waiting(one) {
  const question = el("textarea", { rows: "2", maxlength: "8000", required: true, value: one.question });
  const answer = el("textarea", { rows: "3", maxlength: "20000", value: one.suggested });
  const more = el("small", {});
  const radio = (value, label, checked) => el("label", {}, el("input", { type: "radio", name: `as-${one.id}`, value, checked, onchange: say }), label);
  const kind = el("fieldset", { class: "bare" }, el("legend", { class: "visually-hidden" }, "Accept as"), el("div", { class: "segmented" }, radio("case", "Case", true), radio("example", "Example", false)));
  const name = el("span", {});
  const wrong = el("p", { class: "notice bad", role: "alert", hidden: true });
  const chosen = () => kind.querySelector(":checked").value;
  function say() {
    name.textContent = chosen() === "case" ? "Right answer" : "Reply to learn";
    more.textContent = chosen() === "case" ? "The shortest wording that is right; one alternative a line. Empty: the documents do not answer this." : one.history.length ? "Earlier turns are not learned: word the question so that it stands alone." : "Exactly as the model should say it.";
  }
  const send = async (order) => {
    wrong.hidden = true;
    form.querySelectorAll("button").forEach((each) => { each.disabled = true; });
    try {
      await api(`/api/review/${one.id}`, { json: order, quiet: true });
      toast(order.decision === "accept" ? `Accepted as ${order.as === "case" ? "a case" : "an example"}.` : "Rejected.");
      const next = form.nextElementSibling ?? form.previousElementSibling;
      form.remove();
      if (next?.matches("form")) next.querySelector("textarea").focus({ preventScroll: true });
      else await load();
    } catch (error) {
      wrong.textContent = error.message;
      wrong.hidden = false;
      form.querySelectorAll("button").forEach((each) => { each.disabled = false; });
    }
  };
  const form = el("form", { class: "card entry", data: { entry: one.id }, onsubmit: (event) => {
    event.preventDefault();
    const lines = answer.value.split("\n").map((each) => each.trim()).filter(Boolean);
    send({ decision: "accept", as: chosen(), question: question.value.trim(), ...(chosen() === "case" ? { gold: lines } : { reply: answer.value.trim() }) });
  } }, told(one), kind, el("label", { class: "field" }, el("span", {}, "Question"), question), el("label", { class: "field" }, name, answer, more), wrong,
  el("div", { class: "actions" }, el("button", { class: "button primary", type: "submit" }, "Accept"), el("button", { class: "button", type: "button", onclick: () => send({ decision: "reject" }) }, "Reject")));
  say();
  return form;
}

function decided(one) {
  const made = one.result?.case ? ["Case", one.result.case.answer.join(" / ") || "No document answers this."] : one.result?.example ? ["Example", one.result.example.messages.at(-1).content] : null;
  const asked = one.result?.case?.question ?? one.result?.example?.messages?.at(-2)?.content;
  return el("article", { class: "card entry", data: { entry: one.id } }, told(one),
    made ? el("div", { class: "notice ok" }, el("p", {}, el("strong", {}, `${made[0]}: `), asked), el("p", {}, made[1])) : null,
    one.answer ? el("div", { class: "actions" }, el("button", { class: "button small", type: "button", onclick: async () => {
      await api(`/api/review/${one.id}`, { json: { decision: "reopen" } }).then(load).catch(() => {});
    } }, "Put back into the queue")) : null);
}

function choose(tab) {
  for (const one of tabs) {
    one.setAttribute("aria-selected", String(one === tab));
    one.tabIndex = one === tab ? 0 : -1;
  }
  $("queue").setAttribute("aria-labelledby", tab.id);
  state = tab.dataset.state;
  return load().catch(() => {});
}

tabs.forEach((tab, place) => {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(place + step + tabs.length) % tabs.length];
    next.focus();
    choose(next);
  });
});
await load().catch(() => {});
document.body.classList.add("ready");
