// The source beside the answer: the document's text scrolled to the exact span, or the page of a PDF as a picture.

import { api, el, show } from "./app.js";
import { named } from "./answer.js";

const panel = document.getElementById("source");
const desk = document.querySelector(".desk");
let opener = null;
let asked = 0;

export async function open(place, button) {
  const mine = ++asked;
  opener?.setAttribute("aria-expanded", "false");
  opener = button;
  if (button?.classList.contains("cite")) button.setAttribute("aria-expanded", "true");
  const where = el("span", {}, place.page ? ` · page ${place.page}` : "");
  const tabs = el("div", { role: "tablist", aria: { label: "How to show the source" }, hidden: true });
  const body = el("div", { id: "source-body" }, el("p", { class: "source-text muted" }, el("span", { class: "spinner" }), " Opening…"));
  show(panel,
    el("div", { class: "source-head" },
      el("div", { class: "row between" }, el("h2", { id: "source-title" }, place.number ? `${place.number} · ` : "", named(place)),
        el("button", { class: "button quiet small", type: "button", aria: { label: "Close the source" }, onclick: close }, "Close")),
      el("p", { class: "source-place" }, place.document, where, " · ", el("a", { href: `/api/document/file?${new URLSearchParams({ name: place.document })}`, download: "" }, "original file")),
      tabs),
    body);
  panel.hidden = false;
  desk.classList.add("with-source");
  panel.scrollTop = 0;
  panel.focus({ preventScroll: true });
  let found;
  try {
    found = await standing(place);
  } catch (error) {
    if (mine === asked) show(body, el("p", { class: "source-text muted" }, error.status === 404 ? "This document is no longer in the library, or not yours to see. The answer was given from an earlier version." : error.message));
    return;
  }
  if (mine !== asked) return;
  if (found.changed || !found.page || !/\.pdf$/i.test(place.document)) return words(found, body);
  where.textContent = ` · page ${found.page}`;
  const ways = { Page: () => picture(found, place, body, tabs), Text: () => words(found, body) };
  show(tabs, ...Object.entries(ways).map(([label, way], index) => el("button", { role: "tab", type: "button", aria: { selected: String(!index), controls: "source-body" }, tabindex: index ? "-1" : "0", onkeydown: across, onclick: (event) => {
    for (const one of tabs.children) {
      one.setAttribute("aria-selected", String(one === event.currentTarget));
      one.tabIndex = one === event.currentTarget ? 0 : -1;
    }
    way();
  } }, label)));
  tabs.hidden = false;
  ways.Page();
}

// The passage where it stands in the document as it is now, which may have been changed since the answer.
async function standing(place) {
  const read = (more) => api(`/api/document/text?${new URLSearchParams({ name: place.document, ...more })}`, { quiet: true });
  const found = await read({ start: place.start, end: place.end });
  if (!place.quote || found.text === place.quote) return found;
  const { text } = await read({ start: 0, around: 0 });
  const at = text.indexOf(place.quote);
  if (at < 0) return { ...(await read({ start: place.start, end: place.start })), changed: `This document was changed after this answer, and the passage is not in it any more. It was: “${place.quote}”` };
  const start = Array.from(text.slice(0, at)).length; // the server counts characters, not halves of them
  return { ...(await read({ start, end: start + Array.from(place.quote).length })), changed: "This document was changed after this answer; the passage is marked where it stands now." };
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

function across(event) {
  if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
  const other = event.currentTarget.nextSibling ?? event.currentTarget.previousSibling;
  other.focus();
  other.click();
}

function words(found, body) {
  const mark = el("mark", { tabindex: "-1" }, typeset(found.text));
  const note = found.changed && el("p", { class: "notice warn source-note", role: "status" }, found.changed);
  show(body, note, el("div", { class: "source-text" },
    found.start > Array.from(found.before).length && el("span", { class: "cut" }, "… earlier text left out …"),
    typeset(found.before), mark, typeset(found.after),
    found.total > found.end + Array.from(found.after).length && el("span", { class: "cut" }, "… later text left out …")));
  if (!found.text) return;
  panel.scrollTop += mark.getBoundingClientRect().top - panel.getBoundingClientRect().top - panel.clientHeight * 0.35;
}

function picture(found, place, body, tabs) {
  const query = new URLSearchParams({ name: found.name, page: found.page, start: found.start, end: found.end });
  const address = `/api/document/page?${query}`;
  const image = el("img", { src: address, alt: `Page ${found.page} of ${named(place)} with the passage highlighted: ${found.text}` });
  image.addEventListener("error", () => {
    tabs.hidden = true;
    words(found, body);
  });
  show(body, el("div", { class: "source-page" }, el("a", { href: `${address}&width=2000`, target: "_blank", rel: "noopener", title: "Open the page larger" }, image)));
}

// Markdown headings stand out; everything else is shown as it was read.
function typeset(text) {
  return text.split(/^(#{1,6}[ \t]+[^\n]*)$/m).map((piece, index) => (index % 2 ? el("span", { class: "heading" }, piece.replace(/^#+[ \t]+/, "")) : piece));
}
