// The Settings page: doctor, models, settings with their meaning, keys.

import { api, confirmed, count, el, show, size, toast, when } from "./app.js";
import { $, empty, labels, table } from "./work.js";

const tabs = [...$("tabs").children];
const loaded = new Set();
const loads = { doctor, models, settings, keys };

async function choose(tab, focus = false) {
  const name = tab.id.slice(4);
  for (const one of tabs) {
    one.setAttribute("aria-selected", String(one === tab));
    one.tabIndex = one === tab ? 0 : -1;
    $(`panel-${one.id.slice(4)}`).hidden = one !== tab;
  }
  if (focus) tab.focus();
  history.replaceState(null, "", `#${name}`);
  if (loaded.has(name)) return;
  loaded.add(name);
  await loads[name]().catch(() => loaded.delete(name));
}

tabs.forEach((tab, place) => {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (event) => {
    const next = { ArrowRight: tabs[(place + 1) % tabs.length], ArrowLeft: tabs[(place + tabs.length - 1) % tabs.length], Home: tabs[0], End: tabs.at(-1) }[event.key];
    if (next) { event.preventDefault(); choose(next, true); }
  });
});

/* Doctor and models */

const LEVELS = { ok: ["fine", "ok"], weak: ["weak", "warn"], broken: ["broken", "bad"] };

async function doctor() {
  show($("doctor"), el("p", { class: "muted" }, el("span", { class: "spinner" }), " Looking at everything…"));
  const { findings, ok } = await api("/api/doctor");
  const rank = { broken: 0, weak: 1, ok: 2 };
  findings.sort((a, b) => rank[a.level] - rank[b.level]);
  const weak = findings.filter((one) => one.level !== "ok").length;
  show($("doctor"), el("p", { class: `notice ${ok ? (weak ? "" : "ok") : "bad"}`, role: "status" }, ok ? (weak ? `It works; ${count(weak, "thing")} could be better.` : "Everything is fine.") : "Something is broken; it stands first."),
    el("div", { class: "card" }, findings.map((one) => el("div", { class: "finding" }, el("div", {}, el("span", { class: `badge ${LEVELS[one.level][1]}` }, LEVELS[one.level][0])), el("div", {}, el("p", {}, el("strong", {}, one.topic), ": ", one.says), one.todo ? el("p", { class: "todo" }, one.todo) : null)))));
}

async function models() {
  const { models: found, in_use: used } = await api("/api/models");
  const rows = found.map((one) => [{ node: [el("strong", {}, one.name), " ", one.used ? el("span", { class: "badge ok" }, "in use") : null] }, one.kind, one.good_for, size(one.bytes), one.licence, one.installed ? "on this machine" : "not fetched"]);
  show($("models"), el("p", { class: "muted" }, `In use: ${Object.entries(used).map(([role, name]) => `${role} ${name || "none"}`).join(" · ")}. Another is chosen under Settings and fetched at the next start.`),
    table(["Model", "For", "Good for", ["Size", "number"], "Licence", "Here"], rows, { caption: "Known models" }));
}

/* Settings */

let every = [];

async function settings() {
  every = (await api("/api/settings")).settings;
  draw();
}

function draw() {
  const wanted = $("find").value.trim().toLowerCase();
  const kept = new Map([...$("settings").querySelectorAll("[data-key]")].filter((one) => one.value !== one.dataset.was).map((one) => [one.dataset.key, one.value]));
  const groups = Map.groupBy(every.filter((one) => !wanted || kept.has(one.key) || `${one.key} ${one.description}`.toLowerCase().includes(wanted)), (one) => one.key.split(".")[0]); // what is not saved yet stays in sight
  show($("settings"), groups.size ? [...groups].map(([section, list]) => el("details", { class: "card", open: wanted || section === "answer" || list.some((one) => kept.has(one.key)) }, el("summary", {}, el("strong", {}, section), el("span", { class: "muted small" }, ` · ${count(list.length, "setting")}`)), list.map((one) => row(one, kept)))) : empty("No setting matches", "Search for a part of its name or of what it does."),
    el("p", { class: "notice bad", id: "settings-wrong", role: "alert", hidden: true }),
    el("div", { class: "actions save" }, el("button", { class: "button primary", type: "submit" }, "Save"), el("span", { class: "muted small", id: "changed", role: "status" })));
  tell();
}

const written = (one, value) => (value === null || value === undefined ? "" : Array.isArray(value) ? value.join(", ") : String(value));

function row(one, kept) {
  const id = `set-${one.key}`, was = written(one, one.value);
  const choices = one.choices.length ? one.choices.map(String) : one.type === "boolean" ? ["true", "false"] : null;
  const given = { id, data: { key: one.key, was, kind: one.type }, aria: { describedby: `${id}-says` }, disabled: one.here_only || undefined, oninput: tell };
  const field = choices ? el("select", given, one.nullable ? el("option", { value: "" }, "by itself") : null, choices.map((each) => el("option", { value: each }, each)))
    : was.length > 60 || one.key === "answer.instructions" ? el("textarea", { ...given, rows: "3" }) : el("input", { ...given, inputmode: ["integer", "number"].includes(one.type) ? "decimal" : null, autocomplete: "off", placeholder: one.nullable ? "by itself" : null });
  field.value = kept.get(one.key) ?? was;
  const bounds = [one.minimum !== null && `from ${one.minimum}`, one.exclusiveMinimum !== null && `above ${one.exclusiveMinimum}`, one.maximum !== null && `to ${one.maximum}`, one.exclusiveMaximum !== null && `below ${one.exclusiveMaximum}`].filter(Boolean).join(" ");
  const usual = written(one, one.default);
  return el("div", { class: "setting" }, el("div", {}, el("label", { for: id }, one.key.split(".")[1].replaceAll("_", " ")),
    el("p", { class: "muted small", id: `${id}-says` }, [one.description, one.type === "array" && "Separated by commas.", bounds && `${bounds[0].toUpperCase()}${bounds.slice(1)}.`, usual !== was && `Usually ${usual || "empty"}.`].filter(Boolean).join(" "), one.here_only ? " Set in openbook.toml by whoever runs the server." : ""),
    el("div", { class: "state" }, one.pending ? el("span", { class: "badge warn" }, "after a restart") : null, usual !== was ? el("span", { class: "badge accent" }, "changed") : null)), field);
}

const changed = () => [...$("settings").querySelectorAll("[data-key]")].filter((one) => !one.disabled && one.value !== one.dataset.was);
const tell = () => { const list = changed(); $("changed").textContent = list.length ? `${count(list.length, "change")} not saved` : ""; };

function value(one) {
  const text = one.value.trim();
  const known = every.find((each) => each.key === one.dataset.key);
  if (text === "" && (known.nullable || ["integer", "number"].includes(known.type))) return null;
  if (known.type === "boolean") return text === "true";
  if (["integer", "number"].includes(known.type)) return Number.isFinite(Number(text)) ? Number(text) : text;
  if (known.type === "array") return labels(one.value);
  return one.value;
}

$("settings").addEventListener("submit", async (event) => {
  event.preventDefault();
  const list = changed(), wrong = $("settings-wrong");
  wrong.hidden = true;
  for (const one of $("settings").querySelectorAll("[aria-invalid]")) one.removeAttribute("aria-invalid");
  if (!list.length) return toast("Nothing was changed.");
  try {
    const said = await api("/api/settings", { method: "PATCH", json: Object.fromEntries(list.map((one) => [one.dataset.key, value(one)])), quiet: true });
    toast(said.message[0].toUpperCase() + said.message.slice(1));
    for (const one of list) one.dataset.was = one.value;
    await settings();
  } catch (error) {
    const at = list.find((one) => one.dataset.key === error.param) ?? list.find((one) => error.message.includes(one.dataset.key)) ?? list.find((one) => error.message.includes(one.dataset.key.split(".")[1]));
    wrong.textContent = error.message;
    wrong.hidden = false;
    at?.closest(".setting").append(wrong); // beside what is wrong
    at?.setAttribute("aria-invalid", "true");
    at?.focus({ preventScroll: true });
    (at?.closest(".setting") ?? wrong).scrollIntoView({ block: "center" });
  }
});
$("find").addEventListener("input", draw);

/* Keys */

async function keys() {
  const { keys: found } = await api("/api/keys");
  if (!found.length) return show($("keys"), empty("No keys yet", "Make one for every person or program, so that each can be revoked alone."));
  const now = Date.now() / 1000;
  const rows = [...found].reverse().map((one) => {
    const state = one.revoked ? ["revoked", "bad"] : one.expires && one.expires < now ? ["expired", "warn"] : ["valid", "ok"];
    return [{ node: [el("strong", {}, one.name), el("div", { class: "mono muted small" }, one.id)] }, { node: el("span", { class: `badge ${state[1]}` }, state[0]) }, one.scopes.join(", "), one.all_groups ? "every document" : one.groups.join(", ") || "only what everyone sees", one.expires ? new Date(one.expires * 1000).toLocaleDateString(undefined, { year: "numeric", month: "short", day: "numeric" }) : "never", one.used ? when(one.used) : "never",
      { node: one.revoked ? "" : el("button", { class: "button danger small", type: "button", aria: { label: `Revoke ${one.name}` }, onclick: () => revoke(one) }, "Revoke") }];
  });
  show($("keys"), table(["Key", "State", "May", "Sees", "Ends", "Last used", ["", "actions"]], rows, { caption: "API keys" }));
}

async function revoke(one) {
  if (!(await confirmed(`Revoke ${one.name}?`, { action: "Revoke", danger: true, more: "Whoever uses it is refused from now on. It cannot be undone." }))) return;
  await api(`/api/keys/${encodeURIComponent(one.id)}`, { method: "DELETE" }).then(() => { toast(`${one.name} is revoked.`); return keys(); }).catch(() => {});
}

$("create").addEventListener("submit", async (event) => {
  event.preventDefault();
  const wrong = $("key-wrong"), first = Boolean($("create").dataset.open);
  wrong.hidden = true;
  const scopes = [...$("create").querySelectorAll("input[name=scope]:checked")].map((one) => one.value);
  const refuse = (text) => { wrong.textContent = text; wrong.hidden = false; };
  if (!scopes.length) return refuse("Say at least one thing the key may do.");
  if (first && !scopes.includes("admin") && !(await confirmed("Make the first key without admin?", { action: "Make it", danger: true, more: "These pages will ask for a key from now on, and this one opens neither settings nor keys. An admin key can then only be made on the command line." }))) return;
  const days = $("key-expires").value;
  try {
    const { secret } = await api("/api/keys", { json: { name: $("key-name").value.trim(), scopes, groups: labels($("key-groups").value), all_groups: $("key-all")?.checked ?? false, expires: days ? Date.now() / 1000 + days * 86400 : null }, quiet: true });
    const code = el("code", { tabindex: "0", id: "secret" }, secret);
    show($("made"), el("div", { class: "card stack" }, el("h3", {}, "Your new key"), el("p", { class: "notice warn" }, "Copy it now: it is shown this once and can't be had again."),
      el("div", { class: "secret" }, code, el("button", { class: "button", type: "button", onclick: () => copy(secret, code) }, "Copy"), el("button", { class: "button quiet", type: "button", onclick: () => show($("made")) }, "Done")),
      first ? el("p", {}, "From now on these pages ask for a key. ", el("a", { href: "/login?next=/settings%23keys" }, "Log in with it")) : null));
    $("create").reset();
    code.scrollIntoView({ block: "nearest" });
    if (!first) await keys();
    else $("create").querySelector("button[type=submit]").disabled = true;
  } catch (error) {
    refuse(error.message);
  }
});

async function copy(text, node) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied.");
  } catch {
    getSelection().selectAllChildren(node);
    toast("Press Ctrl+C to copy it.");
  }
}

const named = () => tabs.find((one) => `#${one.id.slice(4)}` === location.hash) ?? tabs[0];

addEventListener("hashchange", () => choose(named()));
await choose(named());
document.body.classList.add("ready");
