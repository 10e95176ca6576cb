// The Library page: documents in, looked at, searched and taken out; folders in step; versions.

import { api, chosen, confirmed, count, el, send, show, size, toast, when } from "./app.js";
import { $, droppable, empty, fact, facts, failures, following, going, labels, table } from "./work.js";

const PAGE = 100; // documents that are listed at a time
let documents = [];
let next = "";
let found = 0; // documents that match what is searched for
let total = 0;
let asking = 0;
const writes = Boolean($("upload"));

/* Documents */

async function load(more = false) {
  const mine = ++asking;
  const wanted = $("find").value.trim();
  const page = await api(`/api/documents?${new URLSearchParams({ find: wanted, limit: PAGE, after: more ? next : "" })}`);
  if (mine !== asking) return; // typed on meanwhile
  documents = more ? [...documents, ...page.documents] : page.documents;
  [next, found] = [page.next, page.total];
  if (!wanted) total = page.total;
  draw(wanted);
}

function draw(wanted) {
  $("total").textContent = total ? `${count(total, "document")} that answers come from.` : "The documents that answers come from.";
  $("find").disabled = !total && !wanted;
  if (!documents.length && wanted) return show($("documents"), empty("Nothing matches", `No document's name, title, author or label holds “${wanted}”.`));
  if (!documents.length) return show($("documents"), empty("No documents yet", writes ? "Drop files above, or sync a folder; then ask them something." : "Whoever looks after this library can add some, or give your key a group."));
  const rows = documents.map((one) => [
    { node: [el("button", { class: "link", type: "button", onclick: () => open(one.name) }, one.title || one.name), el("div", { class: "muted small break" }, one.name),
      one.notes.length ? el("div", {}, el("span", { class: "badge warn" }, count(one.notes.length, "note"))) : null] },
    one.format, one.pages ?? "", size(one.bytes),
    { node: el("span", { class: "chips" }, one.labels.map((label) => el("span", { class: `badge ${label === "*" ? "" : "accent"}` }, label === "*" ? "everyone" : label))) },
    when(one.synced_at),
  ]);
  show($("documents"), table(["Document", "Format", ["Pages", "number"], ["Size", "number"], "Seen by", "Taken in"], rows, { caption: "Documents" }),
    el("p", { class: "row muted small", role: "status" }, next ? [`${documents.length.toLocaleString()} of ${count(found, "document")}${wanted ? " found" : ""}, by name`, el("button", { class: "button small", type: "button", onclick: (event) => { event.currentTarget.disabled = true; load(true).catch(() => draw(wanted)); } }, "Show more")] : `${count(found, "document")}${wanted ? " found" : ""}`));
}

/* One document */

async function open(name) {
  const reader = $("reader");
  const text = el("div", { class: "text", tabindex: "0", role: "document", aria: { label: "Text of the document" } }, "Opening…");
  const head = el("header", {}, el("h2", { id: "reader-title" }, name));
  const query = new URLSearchParams({ name });
  const drop = writes ? el("button", { class: "button danger", type: "button", disabled: true }, "Delete") : el("span");
  const foot = el("footer", { class: "row between" }, drop,
    el("div", { class: "actions" }, el("a", { class: "button", href: `/api/document/file?${query}`, download: "" }, "Original file"), el("button", { class: "button primary", type: "button", onclick: () => reader.close() }, "Close")));
  show(reader, head, text, foot);
  history.replaceState(null, "", `?${new URLSearchParams({ document: name })}`);
  if (!reader.open) reader.showModal();
  try {
    const info = await api(`/api/document?${query}`, { quiet: true });
    drop.disabled = false;
    drop.addEventListener("click", () => remove(name, info.source));
    head.replaceChildren(el("h2", { id: "reader-title" }, info.title || name),
      el("details", { class: "more" }, el("summary", {}, `${info.format} · ${size(info.bytes)} · ${count(info.chunks, "passage")}${info.pages ? ` · ${count(info.pages, "page")}` : ""}`),
        facts(fact("Name", name), fact("Author", info.author), fact("Created", info.created), fact("Changed", info.modified), fact("Comes from", info.source || "an upload"), fact("Taken in", when(info.synced_at)), fact("Seen by", info.labels.map((one) => (one === "*" ? "everyone" : one)).join(", ")))),
      ...info.notes.map((note) => el("p", { class: "notice warn" }, note)));
    show(text);
    await more(name, 0, text);
  } catch (error) {
    show(text, el("p", { class: "notice bad" }, error.message));
  }
}

async function more(name, start, text) {
  const part = await api(`/api/document/text?${new URLSearchParams({ name, start, end: start + 40000, around: 0 })}`, { quiet: true });
  text.append(part.text);
  if (part.end < part.total) {
    const next = el("button", { class: "button small more-text", type: "button", onclick: async () => { next.remove(); await more(name, part.end, text).catch((error) => toast(error.message, "bad")); } }, `Read on (${(part.total - part.end).toLocaleString()} characters more)`);
    text.append("\n\n", next);
  }
  if (!part.total) show(text, el("p", { class: "muted" }, "No text was found in this document."));
}

async function remove(name, source) {
  if (!(await confirmed(`Delete ${name}?`, { action: "Delete", danger: true, more: source ? "It comes from a synced folder: delete the file there, too, or the next sync brings it back." : "Answers stop using it at once. An earlier version still holds it." }))) return;
  await api(`/api/document?${new URLSearchParams({ name })}`, { method: "DELETE" }).then(async () => {
    $("reader").close();
    toast(`${name} is deleted.`);
    await refresh();
  }).catch(() => {});
}

$("reader").addEventListener("close", () => history.replaceState(null, "", location.pathname));

/* Taking in */

function finished(now, body) {
  const result = now.result;
  if (!result) return refresh();
  const parts = [["added", "added"], ["changed", "changed"], ["renamed", "renamed"], ["removed", "removed"], ["unchanged", "as before"]].filter(([key]) => result[key]).map(([key, word]) => `${result[key].toLocaleString()} ${word}`);
  const names = Object.entries(result.paths ?? {}).filter(([, list]) => list.length);
  body.append(...[
    el("p", { class: now.state === "succeeded" && !result.failed.length ? "notice ok" : "notice", role: "status" }, `${result.dry_run ? "This would change: " : ""}${parts.join(", ") || "Nothing changed"}.`),
    failures(result.failed),
    ...result.notes.map((note) => el("p", { class: "notice warn" }, note)),
    result.dry_run && names.length ? el("details", { class: "more", open: true }, el("summary", {}, "Which"), el("ul", {}, names.flatMap(([kind, list]) => list.slice(0, 100).map((one) => el("li", { class: "break" }, `${kind}: ${one}`))))) : null,
  ].filter(Boolean));
  return refresh();
}

const named = { upload: (one) => `Upload of ${count(one.args.files?.length ?? 1, "file")}`, sync: (one) => `${one.args.dry_run ? "Trial sync" : "Sync"} of ${(one.args.targets ?? []).join(", ")}` };
const follow = (one) => following($("jobs"), one, { title: named[one.kind](one), ended: finished });

async function upload(files) {
  const line = el("span", {}, `Sending ${count(files.length, "file")}…`), figure = el("span"), bar = el("progress", { class: "progress", max: "1", aria: { label: "Progress of sending" } });
  const card = el("section", { class: "card stack", aria: { label: "Sending" } }, el("div", {}, el("div", { class: "progress-line" }, line, figure), bar));
  $("jobs").prepend(card);
  $("jobs").hidden = false;
  const said = (share) => {
    bar.value = share;
    figure.textContent = share < 1 ? `${Math.round(share * 100)} %` : "";
    if (share === 1) line.textContent = "Putting them away…";
  };
  try {
    const out = await send(files, { labels: labels($("upload-labels").value), most: Number($("drop").dataset.most), said, began: follow });
    if (!out.length) return card.remove();
    show(card, failures(out), closing(card));
  } catch (error) {
    show(card, el("p", { class: "notice bad", role: "alert" }, error.message), closing(card));
  } finally {
    $("jobs").hidden = !$("jobs").children.length;
  }
}

const closing = (card) => el("div", { class: "actions" }, el("button", { class: "button quiet small", type: "button", onclick: () => { card.remove(); $("jobs").hidden = !$("jobs").children.length; } }, "Close"));

async function sync(targets, more = {}) {
  const wrong = $("sync-wrong");
  wrong.hidden = true;
  const order = { targets, labels: labels($("sync-labels")?.value ?? ""), ...more };
  try {
    const { job } = await api("/api/sync", { json: order, quiet: true });
    const followed = follow(job);
    const now = await followed.done;
    if (now.code === "source_vanished") {
      followed.body.append(el("div", { class: "actions" }, el("button", { class: "button danger small", type: "button", onclick: async () => {
        if (await confirmed("Remove all of them from the library?", { action: "Remove", danger: true, more: now.error })) sync(targets, { ...more, allow_mass_delete: true });
      } }, "Remove them all the same")));
    }
  } catch (error) {
    wrong.textContent = error.message;
    wrong.hidden = false;
  }
}

async function sources() {
  const { sources: found, may } = await api("/api/sources");
  const known = found.filter((one) => one.kind !== "upload");
  const line = (one) => el("div", { class: "source-line" }, el("div", {}, el("div", {}, one.source), el("div", { class: "muted small" }, `${count(one.documents, "document")} · ${when(one.synced_at)}`)),
    el("button", { class: "button small", type: "button", aria: { label: `Sync again: ${one.source}` }, onclick: () => sync([one.source]) }, "Sync again"));
  show($("sources"), known.slice(0, 3).map(line), known.length > 3 && el("details", { class: "more" }, el("summary", {}, `${known.length - 3} more`), el("div", { class: "stack" }, known.slice(3).map(line))), !known.length && el("p", { class: "muted small" }, "A synced folder keeps its place: what changes or goes there, changes and goes here with the next sync."));
  show($("folders"), may.folders.map((one) => el("option", { value: one })));
  $("target-field").hidden = !(may.any_path || may.folders.length || may.web);
  if ($("target-field").hidden && !known.length) show($("sources"), el("p", { class: "muted small" }, "No folder of the server may be synced from here. Its operator can allow some with serve.folders in openbook.toml."));
}

/* Versions */

async function versions() {
  const { versions: found, may_restore: may } = await api("/api/versions");
  if (!found.length) return show($("versions"), el("p", { class: "muted" }, "None yet."));
  const rows = found.slice(0, 50).map((one) => [
    { node: ["Version ", String(one.version), one.current ? [" ", el("span", { class: "badge ok" }, "now")] : ""] },
    when(one.committed_at), one.documents.toLocaleString(), { node: [one.changes && el("div", {}, differs(one.changes)), one.note && el("div", { class: "muted small break" }, one.note)] },
    { node: one.current || !may ? "" : el("button", { class: "button small", type: "button", aria: { label: `Go back to version ${one.version}` }, onclick: () => restore(one) }, "Go back") },
  ]);
  show($("versions"), table(["Version", "Made", ["Documents", "number"], "What happened", ["", "actions"]], rows, { caption: "Versions of the library" }));
}

const differs = (changes) => Object.entries(changes).filter(([, number]) => number).map(([kind, number]) => `${number.toLocaleString()} ${kind}`).join(", ") || "No document differs";

async function restore(one) {
  if (!(await confirmed(`Go back to version ${one.version}?`, { action: "Go back", more: `The library will hold the ${count(one.documents, "document")} of that version again. Nothing is lost: the version of now stays in the list.` }))) return;
  await api(`/api/versions/${one.version}/restore`, { method: "POST" }).then(async () => { toast(`The library is as in version ${one.version} again.`); await refresh(); }).catch(() => {});
}

const refresh = () => Promise.all([load(), versions(), writes && sources()]).catch(() => {});

let typing;
$("find").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => load().catch(() => {}), 150); });
if (writes) {
  droppable($("drop"), $("files"), upload);
  $("folder").addEventListener("change", () => { if ($("folder").files.length) upload(chosen($("folder"))); $("folder").value = ""; });
  $("choose-folder").addEventListener("click", () => $("folder").click());
  $("upload").addEventListener("submit", (event) => event.preventDefault());
  const targets = () => [$("target").value.trim()].filter(Boolean);
  const begin = (more) => {
    if (targets().length) return sync(targets(), more);
    $("sync-wrong").textContent = "Name a folder, a file or a web page first.";
    $("sync-wrong").hidden = false;
    $("target").focus();
  };
  $("sync").addEventListener("submit", (event) => { event.preventDefault(); begin({}); });
  $("dry").addEventListener("click", () => begin({ dry_run: true }));
}
await refresh();
const asked = new URLSearchParams(location.search).get("document");
if (asked) open(asked);
if (writes) (await going("upload", "sync")).forEach(follow);
document.body.classList.add("ready");
