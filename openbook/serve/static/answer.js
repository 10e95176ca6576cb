// An answer of /api/ask in, nodes out: text with numbered citations, marks on what has no source, what was considered.

import { api, count, el, show, toast } from "./app.js";

// The text cut at its sentences: {text, supported, citation, number, tail}, or {text} for what lies between.
export function parts(answer) {
  const found = [];
  let at = 0;
  answer.sentences.forEach((sentence, index) => {
    const body = sentence.text.replace(/[.!?]+$/, "");
    const place = body ? answer.answer.indexOf(body, at) : -1;
    if (place < 0) return;
    if (place > at) found.push({ text: answer.answer.slice(at, place) });
    const [whole, before, tail, behind] = /^(?:\s*\[(\d+)\])?([.!?]*)(?:\s*\[(\d+)\])?/.exec(answer.answer.slice(place + body.length));
    const number = before ?? behind;
    at = place + body.length + whole.length;
    const citation = answer.citations.find((one) => one.sentence === index);
    found.push({ text: body, supported: sentence.supported, citation, number: Number(number) || numberOf(answer, citation), tail });
  });
  if (at < answer.answer.length) found.push({ text: answer.answer.slice(at) });
  return found;
}

function numberOf(answer, citation) {
  if (!citation) return 0;
  return answer.hits.findIndex((hit) => hit.document === citation.document && hit.start <= citation.start && citation.end <= hit.end) + 1;
}

export const named = (hit) => hit.title || hit.document.split("/").pop();

// A Markdown link by its words: the address is in the source.
const plain = (text) => text.replace(/\[([^\][]+)\]\(\S+?\)/g, "$1");

// Whether sentences were held against passages: not by those who read no documents.
export const checked = (answer) => !["base", "tuned"].includes(answer.arm);

// What is between ** and ** in bold, as models write it; everything else as it is.
const styled = (text) => text.split(/(?<![\w*])\*\*(?=\S)([^*\n]+)\*\*(?![\w*])/).map((piece, index) => (index % 2 ? el("strong", {}, piece) : piece));

// `open(place, button)` shows a source.
export function text(answer, open) {
  return parts(answer).flatMap((part) => {
    const said = styled(plain(part.text));
    if (part.supported === undefined) return said;
    if (!part.supported) return checked(answer) ? [el("span", { class: "unsupported" }, said, part.tail), el("span", { class: "unsupported-tag", title: "No passage that was read bears this sentence out." }, "no source")] : [...said, part.tail];
    return [...said, part.tail, part.citation && cite(answer, part, open)];
  });
}

function cite(answer, part, open) {
  const hit = answer.hits[part.number - 1] ?? part.citation;
  const page = part.citation.page ? `, page ${part.citation.page}` : "";
  const label = `Source ${part.number}: ${named(hit)}${page}`;
  return el("button", { class: "cite", type: "button", title: label, aria: { label, expanded: "false", controls: "source" }, onclick: (event) => open({ ...part.citation, title: hit.title, number: part.number }, event.currentTarget) }, part.number);
}

export function sources(answer, open) {
  const seen = new Map();
  for (const part of parts(answer)) {
    if (part.citation && !seen.has(part.number)) seen.set(part.number, part.citation);
  }
  if (!seen.size) return null;
  return el("ul", { class: "sources", aria: { label: "Sources" } }, [...seen].map(([number, citation]) => {
    const hit = answer.hits[number - 1] ?? citation;
    return el("li", {}, el("button", { type: "button", title: citation.document, onclick: (event) => open({ ...citation, title: hit.title, number }, event.currentTarget) },
      el("b", {}, number), el("span", { class: "clip" }, named(hit)), citation.page ? el("span", { class: "muted" }, `page ${citation.page}`) : null));
  }));
}

export function refusal(answer, reconsider) {
  const said = el("p", { class: "answer-text" }, answer.answer);
  if (!checked(answer)) return el("div", { class: "refusal" }, said, el("p", { class: "muted" }, "The model alone was asked, and it read none of your documents. Choose another way of answering below the question to have them searched."));
  return el("div", { class: "refusal" }, said,
    el("p", { class: "muted" }, "No passage was close enough to answer from, so nothing was made up."),
    el("ul", {},
      el("li", {}, "Ask in the words your documents use, or name the document."),
      answer.hits.length ? el("li", {}, "Look at ", el("button", { class: "link", type: "button", onclick: reconsider }, "what came closest"), ".") : null,
      el("li", {}, "Add documents that speak of it in the ", el("a", { href: "/library" }, "Library"), ".")));
}

export function considered(answer, open) {
  if (!answer.hits.length) return null;
  const used = new Set(parts(answer).filter((part) => part.citation).map((part) => part.number));
  const figure = (name, value) => (value === null || value === undefined ? null : el("div", {}, el("dt", {}, name), el("dd", {}, value)));
  const round = (value) => (typeof value === "number" ? value.toFixed(3) : null);
  return el("details", { class: "more" },
    el("summary", {}, `${count(answer.hits.length, "passage")} considered`),
    el("ol", { class: "considered" }, answer.hits.map((hit, index) => el("li", {},
      el("div", { class: "place" },
        el("b", {}, index + 1),
        el("button", { class: "link", type: "button", onclick: (event) => open({ ...hit, quote: hit.text, number: index + 1 }, event.currentTarget) }, [named(hit), ...hit.heading.filter((one) => one !== hit.title)].join(" › ")),
        hit.page ? el("span", { class: "muted" }, `page ${hit.page}`) : null,
        used.has(index + 1) ? el("span", { class: "badge ok" }, "cited") : null),
      el("p", { class: "quote" }, hit.text),
      el("dl", {},
        figure("Score", round(hit.score)),
        figure("By meaning", hit.dense_rank && `#${hit.dense_rank}${hit.dense_score === null ? "" : ` (${round(hit.dense_score)})`}`),
        figure("By words", hit.lexical_rank && `#${hit.lexical_rank}${hit.lexical_score === null ? "" : ` (${round(hit.lexical_score)})`}`),
        figure("Reranked", round(hit.rerank_score)))))));
}

export function origin(answer) {
  const seconds = (value) => `${value.toFixed(value < 1 ? 2 : 1)} s`;
  const said = [
    answer.model && `${answer.model}${answer.adapter ? ` with ${answer.adapter}` : ""}`,
    seconds(answer.seconds.total),
    answer.tokens.answer ? `${count(answer.tokens.prompt, "token")} read, ${answer.tokens.answer.toLocaleString()} written` : null,
    `library version ${answer.library_version}`,
  ].filter(Boolean);
  return el("details", { class: "more" }, el("summary", {}, "How it came about"),
    el("p", { class: "small muted" }, said.join(" · ")),
    answer.prompt ? el("pre", { tabindex: "0", aria: { label: "The exact text the model read" } }, answer.prompt) : null);
}

// Thumbs, a reason, an edited answer: rows for the review queue.
export function feedback(answer) {
  const form = el("div");
  const send = async (rating, given = {}) => {
    await api("/api/feedback", { json: { answer: answer.id, rating, reason: "", correction: "", ...given } });
    show(form, el("p", { class: "small muted", role: "status" }, "Thank you. It waits in the review queue; nothing learns from it unseen."));
  };
  const press = (button) => [up, down, edit].forEach((one) => one.setAttribute("aria-pressed", String(one === button)));
  const up = el("button", { class: "button quiet small", type: "button", aria: { pressed: "false" }, onclick: () => send("up").then(() => press(up), () => {}) }, "Helpful");
  const down = el("button", { class: "button quiet small", type: "button", aria: { pressed: "false" }, onclick: () => { press(down); ask(); } }, "Not helpful");
  const edit = el("button", { class: "button quiet small", type: "button", aria: { pressed: "false" }, onclick: () => { press(edit); mend(); } }, "Edit answer");
  const foot = () => el("div", { class: "actions" }, el("button", { class: "button primary small", type: "submit" }, "Send"), el("button", { class: "button quiet small", type: "button", onclick: () => { press(null); show(form); } }, "Cancel"));

  function ask() {
    const reasons = ["It is wrong", "Wrong source", "Something is missing", "Hard to read"];
    const more = el("textarea", { rows: "2", maxlength: "4000" });
    const chosen = el("fieldset", {}, el("legend", {}, "What was not helpful?"), reasons.map((one) => el("label", { class: "check" }, el("input", { type: "radio", name: `reason-${answer.id}`, value: one }), one)));
    show(form, el("form", { class: "feedback", onsubmit: (event) => {
      event.preventDefault();
      const reason = [chosen.querySelector(":checked")?.value, more.value.trim()].filter(Boolean).join(": ");
      send("down", { reason }).catch(() => {});
    } }, chosen, el("label", { class: "field" }, el("span", {}, "In your words (optional)"), more), foot()));
    chosen.querySelector("input").focus();
  }

  function mend() {
    const text = el("textarea", { rows: "5", maxlength: "20000", value: answer.answer });
    show(form, el("form", { class: "feedback", onsubmit: (event) => {
      event.preventDefault();
      if (!text.value.trim()) return toast("Write the answer as it should be.", "bad");
      send("edit", { correction: text.value.trim() }).catch(() => {});
    } }, el("label", { class: "field" }, el("span", {}, "The answer as it should be"), text), foot()));
    text.focus();
  }

  return { buttons: answer.id ? [up, down, edit] : [], form };
}

export function copied(answer) {
  const list = [...new Map(parts(answer).filter((part) => part.citation).map((part) => [part.number, part.citation]))]
    .map(([number, one]) => `[${number}] ${one.document}${one.page ? `, page ${one.page}` : ""}`);
  return [answer.answer, ...(list.length ? ["", ...list] : [])].join("\n");
}
