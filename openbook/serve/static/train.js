// The Train page: examples, their check with what is learned marked, live curves, adapters.

import { api, confirmed, count, el, show, toast, when } from "./app.js";
import { $, Files, chart, droppable, empty, fact, facts, figure, following, going, reviewed, seconds, table } from "./work.js";

const FEW = 30; // steps
const files = new Files($("list"), { purposes: { "fine-tune": "files" }, uses: { files: "to learn from", validation: "to check with during training", test: "to test with at the end" }, none: "No files yet. One example a line: {\"messages\": [{\"role\": \"user\", …}, {\"role\": \"assistant\", …}]}" });

function order() {
  const settings = {};
  for (const one of $("train").querySelectorAll("[data-kind]")) {
    if (one.value.trim() === one.dataset.was) continue;
    const text = one.value.trim();
    settings[one.name] = one.dataset.kind === "boolean" ? text === "true" : ["number", "integer"].includes(one.dataset.kind) ? (text === "" ? null : Number.isFinite(Number(text)) ? Number(text) : text) : text;
  }
  return { files: files.chosen("files"), validation: files.chosen("validation"), test: files.chosen("test"), name: $("name").value.trim(), settings, from_library: $("library").checked, reviewed: $("reviewed").checked };
}

async function begin(kind) {
  const wrong = $("wrong");
  wrong.hidden = true;
  const wanted = order();
  const refuse = (text, field) => { wrong.textContent = text; wrong.hidden = false; field?.focus(); };
  if (!wanted.files.length && !wanted.from_library && !wanted.reviewed) return refuse("Choose at least one file of examples to learn from, or one of the boxes below the files.", $("files"));
  if (kind === "train" && !wanted.name) return refuse("Give the adapter a name first.", $("name"));
  try {
    const { job } = await api(kind === "train" ? "/api/training" : "/api/training/preflight", { json: wanted, quiet: true });
    follow(job).card.scrollIntoView({ block: "nearest" });
  } catch (error) {
    refuse(error.message);
  }
}

function follow(job) {
  const train = job.kind === "train";
  const curves = el("div", { class: "stack" });
  let run = "", asking = false, again = false;
  const draw = async () => {
    if (!run) return;
    if (asking) { again = true; return; }
    asking = true;
    await api(`/api/runs/${encodeURIComponent(run)}/events`, { quiet: true }).then((found) => live(curves, found), () => {});
    await new Promise((done) => setTimeout(done, 1000));
    asking = false;
    if (again) { again = false; draw(); }
  };
  const followed = following($("jobs"), job, {
    title: train ? `Training ${job.args.name}` : "Check of the examples", pausable: train,
    said: (event) => { if (event.run) run = event.run; if (train && (event.kind || event.run)) draw(); },
    ended: async (now, body) => {
      if (!train && now.result) checked(body, now.result, job.args.settings ?? {});
      if (train) {
        again = false;
        if (run) await api(`/api/runs/${encodeURIComponent(run)}/events`, { quiet: true }).then((found) => live(curves, found), () => {});
        if (now.state === "succeeded") body.append(el("p", { class: "notice ok", role: "status" }, `${now.result.adapter} is trained.`), next(now.result.adapter),
          ...(now.result.obstacles ?? []).map((one) => el("p", { class: "notice warn" }, one)));
        await adapters();
      }
    },
  });
  if (train) followed.body.before(curves);
  return followed;
}

// What to do with an adapter that was just trained.
const next = (ref) => el("div", { class: "actions" }, el("a", { class: "button primary small", href: `/?${new URLSearchParams({ model: ref })}` }, "Ask it something"),
  el("a", { class: "button small", href: `/compare?${new URLSearchParams({ adapter: ref })}` }, "Compare it with the untouched model"));

// So few steps change nothing that anybody would notice: what to set instead.
function few(examples, given) {
  const [epochs, batch] = ["epochs", "batch"].map((name) => given[name] ?? Number($("train").querySelector(`[name=${name}]`).dataset.was));
  const steps = Math.max(1, Math.floor((examples * epochs) / batch)), better = Math.min(100, Math.ceil((FEW * batch) / examples));
  return steps < FEW && better > epochs ? el("p", { class: "notice warn" }, `That is about ${count(steps, "step")} of learning, too little to change how the model answers. Set Epochs to ${better}, or bring more examples.`) : null;
}

function checked(body, found, given) {
  const marks = found.preview.slice(0, 5);
  const estimate = found.estimate ?? {};
  body.append(
    ...found.errors.map((one) => el("p", { class: "notice bad" }, one)),
    ...found.warnings.map((one) => el("p", { class: "notice warn" }, one)),
    ...[!found.errors.length && few(found.examples, given)].filter(Boolean),
    found.errors.length ? el("p", {}, "Mend this before training.") : el("p", { class: "notice ok", role: "status" }, `${count(found.examples, "example")} to learn from, ${found.validation.toLocaleString()} kept aside: never learned, only asked, to see whether training helps.`),
    facts(fact("Learning would take", typeof estimate.seconds === "number" ? `about ${seconds(Math.max(1, estimate.seconds))}; loading the model and measuring what it forgot take some minutes more` : null), fact("Memory", typeof estimate.peak_memory_mb === "number" ? `${(estimate.peak_memory_mb / 1000).toFixed(1)} GB` : null),
      fact("Left out", found.left_out?.length ? `${count(found.left_out.length, "example")}, too long or unusable; the whole report says why` : null), fact("Said twice", found.duplicates?.length ? count(found.duplicates.length, "example") : null), fact("Instruction before each", found.system)),
    ...(marks.length ? [el("h4", {}, "What is learned"), el("p", { class: "muted small" }, "The marked text is what the model learns to write; everything else it only reads. Words between <| and |> are marks of its own that say who speaks."),
      ...marks.map((one, place) => el("details", { class: "more", open: !place }, el("summary", {}, one.place || `Example ${place + 1}`),
        el("div", { class: "mask", tabindex: "0", role: "group", aria: { label: `What is learned of ${one.place || `example ${place + 1}`}` } }, one.pieces.map(([text, learned]) => el(learned ? "mark" : "span", {}, text)))))] : []),
    el("p", {}, el("a", { href: `/api/runs/${encodeURIComponent(found.run)}/preflight`, target: "_blank", rel: "noopener" }, "The whole report of the check")),
  );
}

function live(place, { events, rates, best }) {
  const start = events.find((one) => one.kind === "start");
  const steps = events.filter((one) => one.kind === "step"), checks = events.filter((one) => one.kind === "eval");
  if (!start) return;
  const last = steps.at(-1), end = start.steps;
  const tile = (value, name) => el("div", { class: "tile" }, el("b", {}, value), el("span", {}, name));
  let mean = null;
  const smooth = steps.map((one) => [one.step, (mean = mean === null ? one.loss : 0.8 * mean + 0.2 * one.loss)]);
  const metric = checks.at(-1)?.name?.replaceAll("_", " ") ?? "task metric";
  const samples = checks.at(-1)?.samples ?? [];
  const open = place.querySelector("details")?.open;
  show(place,
    el("div", { class: "tiles" }, tile(`${last?.step ?? 0} / ${end}`, "steps"), last ? tile(figure(last.loss), "training loss") : null, best ? tile(figure(best.metric), `best ${metric}`) : null,
      rates?.eta ? tile(seconds(rates.eta), "left") : null, rates?.real ? tile(figure(rates.real), "tokens/s") : null),
    el("div", { class: "charts" },
      chart("Loss", [{ name: "training, smoothed", points: smooth }, { name: "kept aside", look: "held", dots: true, points: checks.map((one) => [one.step, one.loss]) }], { end }),
      chart(metric[0].toUpperCase() + metric.slice(1), [{ points: checks.map((one) => [one.step, one.metric]), dots: true, bars: checks.filter((one) => one.low !== null && one.high !== null).map((one) => [one.step, one.low, one.high]) }], { end, zero: true })),
    el("p", { class: "muted small" }, "Loss says how much the right words still surprise the model: lower is better. When the dashed line, of examples kept aside, rises while the other falls, it learns by heart; the best check is kept."),
    samples.length ? el("details", { class: "more", open }, el("summary", {}, "Answers of the last check"),
      el("ul", { class: "plainlist" }, samples.slice(0, 5).map((one) => el("li", { class: "quote" }, facts(fact("Asked", one.prompt), fact("Wanted", one.reference), fact("Said", one.reply)))))) : null);
}

async function adapters() {
  const { adapters: found } = await api("/api/adapters");
  if (!found.length) return show($("adapters"), empty("Nothing trained yet", "Add examples above and check them; a check costs a minute and changes nothing."));
  const rows = found.map((one) => {
    const ref = `${one.name}@${one.version}`;
    const score = one.metric?.value ?? one.metric?.tuned ?? null;
    return [
      { node: [el("button", { class: "link", type: "button", onclick: () => card(one) }, ref), " ", one.promoted ? el("span", { class: "badge ok" }, "promoted") : null, one.obstacles.length ? [" ", el("span", { class: "badge warn" }, "not ready")] : null] },
      one.method, typeof score === "number" ? `${one.metric.name ?? ""} ${figure(score)}`.trim() : "", one.created ? when(one.created) : "",
      { node: el("div", { class: "actions" }, el("a", { class: "button quiet small", href: `/?${new URLSearchParams({ model: ref })}`, aria: { label: `Ask ${ref}` } }, "Ask"), el("a", { class: "button quiet small", href: `/compare?${new URLSearchParams({ adapter: ref })}`, aria: { label: `Compare ${ref}` } }, "Compare"),
        one.promoted ? el("button", { class: "button small", type: "button", aria: { label: `Roll back ${one.name} to the version before` }, onclick: () => back(one) }, "Roll back") : el("button", { class: "button small", type: "button", aria: { label: `Promote ${ref}` }, onclick: () => promote(one) }, "Promote")) },
    ];
  });
  show($("adapters"), table(["Adapter", "Method", "Measured", "Trained", ["", "actions"]], rows, { caption: "Adapters" }));
}

async function promote(one, force = false) {
  try {
    await api(`/api/adapters/${encodeURIComponent(one.name)}/promote`, { json: { version: one.version, force }, quiet: true });
    toast(`${one.name} is version ${one.version} now.`);
    await adapters();
  } catch (error) {
    if (error.code === "not_promoted" && !force && (await confirmed(`Promote ${one.name}@${one.version} all the same?`, { action: "Promote", danger: true, more: `What stands against it: ${one.obstacles.join("; ") || error.message}.` }))) return promote(one, true);
    if (error.code !== "not_promoted") toast(error.message, "bad");
  }
}

async function back(one) {
  if (!(await confirmed(`Roll ${one.name} back?`, { action: "Roll back", more: "The version that was promoted before answers again." }))) return;
  await api(`/api/adapters/${encodeURIComponent(one.name)}/roll-back`, { method: "POST" }).then((now) => { toast(`${now.name} is version ${now.version} again.`); return adapters(); }).catch(() => {});
}

async function card(one) {
  const box = $("card"), text = el("div", { class: "text mono", tabindex: "0", role: "document", aria: { label: "Model card" } }, "Opening…");
  show(box, el("header", {}, el("h2", { id: "card-title" }, `${one.name}@${one.version}`), ...one.obstacles.map((each) => el("p", { class: "notice warn" }, each))), text,
    el("footer", { class: "row between" }, one.run ? el("a", { class: "button", href: `/api/runs/${encodeURIComponent(one.run)}/curves`, target: "_blank", rel: "noopener" }, "Its training") : el("span"), el("button", { class: "button primary", type: "button", onclick: () => box.close() }, "Close")));
  box.showModal();
  text.textContent = await api(`/api/adapters/${encodeURIComponent(one.name)}/${one.version}/card`, { quiet: true }).catch((error) => error.message);
}

droppable($("drop"), $("files"), (list) => files.take(list.map(({ file }) => file)).catch(() => {}));
$("train").addEventListener("submit", (event) => { event.preventDefault(); begin("preflight"); });
$("go").addEventListener("click", () => begin("train"));
await Promise.all([files.load(), adapters(), reviewed($("reviewed"), $("reviewed-note"), "example")]).catch(() => {});
(await going("preflight", "train")).forEach(follow);
document.body.classList.add("ready");
