// The source beside the answer: the document's text scrolled to the exact span, or the page of a PDF as a picture.

import { api, el, show } from "./app.js";
import { named } from "./answer.js";

const AROUND = 20000; // characters of text shown before and after the span

const panel = document.getElementById("source");
const desk = document.querySelector(".desk");
let opener = null;
let asked = 0;

export async function open(place, button) {
  const mine = ++asked;
  opener?.setAttribute("aria-expanded", "false");
  opener = button;
  if (button?.classList.contains("cite")) button.setAttribute("aria-expanded", "true");
  const body = el("div", { id: "source-body" }, el("p", { class: "source-text muted" }, el("span", { class: "spinner" }), " Opening…"));
  const pdf = /\.pdf$/i.test(place.document) && place.page;
  const tabs = pdf && el("div", { role: "tablist", aria: { label: "How to show the source" } },
    ["Page", "Text"].map((label, index) => el("button", { role: "tab", type: "button", id: `source-tab-${label}`, aria: { selected: String(!index), controls: "source-body" }, tabindex: index ? "-1" : "0", onclick: (event) => turn(event.currentTarget, place, body), onkeydown: across }, label)));
  const query = new URLSearchParams({ name: place.document });
  show(panel,
    el("div", { class: "source-head" },
      el("div", { class: "row between" }, el("h2", { id: "source-title" }, place.number ? `${place.number} · ` : "", named(place)),
        el("button", { class: "button quiet small", type: "button", id: "source-close", aria: { label: "Close the source" }, onclick: close }, "Close")),
      el("p", { class: "source-place" }, place.document, place.page ? ` · page ${place.page}` : "", " · ", el("a", { href: `/api/document/file?${query}`, download: "" }, "original file")),
      tabs),
    body);
  panel.hidden = false;
  desk.classList.add("with-source");
  panel.scrollTop = 0;
  panel.focus({ preventScroll: true });
  await (pdf ? picture(place, body) : words(place, body, () => mine === asked));
}

export function close() {
  asked++;
  panel.hidden = true;
  show(panel);
  desk.classList.remove("with-source");
  opener?.setAttribute("aria-expanded", "false");
  opener?.focus();
  opener = null;
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !panel.hidden && !document.querySelector("dialog[open]")) close();
});

function turn(tab, place, body) {
  for (const one of tab.parentElement.children) {
    one.setAttribute("aria-selected", String(one === tab));
    one.tabIndex = one === tab ? 0 : -1;
  }
  return tab.textContent === "Page" ? picture(place, body) : words(place, body);
}

function across(event) {
  if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
  const other = event.currentTarget.nextSibling ?? event.currentTarget.previousSibling;
  other.focus();
  other.click();
}

async function words(place, body, still = () => true) {
  const query = new URLSearchParams({ name: place.document, start: place.start, end: place.end });
  let found;
  try {
    found = await api(`/api/document/text?${query}`, { quiet: true });
  } catch (error) {
    if (still()) show(body, el("p", { class: "source-text muted" }, error.status === 404 ? "This document is no longer in the library, or not yours to see. The answer was given from an earlier version." : error.message));
    return;
  }
  if (!still()) return;
  const mark = el("mark", { id: "span", tabindex: "-1" }, typeset(found.text));
  show(body, el("div", { class: "source-text" },
    found.start > Array.from(found.before).length && el("span", { class: "cut" }, "… earlier text left out …"),
    typeset(found.before), mark, typeset(found.after),
    found.total > found.end + Array.from(found.after).length && el("span", { class: "cut" }, "… later text left out …")));
  mark.scrollIntoView({ block: "center" });
}

function picture(place, body) {
  const query = new URLSearchParams({ name: place.document, page: place.page, start: place.start, end: place.end });
  const image = el("img", { src: `/api/document/page?${query}`, alt: `Page ${place.page} of ${named(place)} with the passage highlighted: ${place.quote ?? ""}`.trim() });
  image.addEventListener("error", () => words(place, body));
  show(body, el("div", { class: "source-page" }, image));
}

// Markdown headings stand out; everything else is shown as it was read.
function typeset(text) {
  return text.split(/^(#{1,6}[ \t]+[^\n]*)$/m).map((piece, index) => (index % 2 ? el("span", { class: "heading" }, piece.replace(/^#+[ \t]+/, "")) : piece));
}
