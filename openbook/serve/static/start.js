// The first run: files or the sample in, live progress, then questions to begin with.

import { api, chosen, count, dropped, el, job, pace, send, show, toast } from "./app.js";

const NAMES = { read: "Reading", parse: "Reading", embed: "Learning what is where", write: "Filing", commit: "Filing", queued: "Waiting for its turn", load: "Loading the model" };

// `ready(result)` is called once there are documents: {taken, failed: [{path, reason}]}.
export function start(ready) {
  const section = document.getElementById("start");
  const choice = document.getElementById("start-choice");
  if (!section || !choice) return;
  const [drop, files, line, figure, bar, failed] = ["drop", "files", "start-step", "start-figure", "start-bar", "start-failed"].map((id) => document.getElementById(id));

  files.addEventListener("change", () => files.files.length && give(chosen(files)));
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    dropped(event).then((list) => list.length && give(list), () => toast("This could not be read; was it moved meanwhile?", "bad"));
  });
  document.getElementById("sample").addEventListener("click", () => work("Fetching the handbook…", async (result) => follow((await api("/api/sample", { method: "POST", quiet: true })).job, result)));

  const give = (list) => work(`Sending ${count(list.length, "file")}…`, async (result) => {
    const said = (share) => { bar.value = share; };
    const out = await send(list, { most: Number(drop.dataset.most), said, began: (made) => follow(made, result) });
    result.failed.push(...out);
  });

  async function follow(made, result) {
    const paced = pace();
    line.textContent = "Reading…";
    bar.removeAttribute("value");
    const done = await job(made.id, { event: (event) => {
      if (!event.step) return;
      line.textContent = `${NAMES[event.step] ?? event.step}…`;
      figure.textContent = paced(event);
      if (event.total) bar.value = event.done / event.total;
    } });
    if (done.state !== "succeeded") throw new Error(done.error || "The documents were not taken in.");
    const { added = 0, changed = 0, unchanged = 0, failed: wrong = [] } = done.result ?? {};
    result.taken += added + changed + unchanged;
    result.failed.push(...wrong);
  }

  async function work(first, begin) {
    const result = { taken: 0, failed: [] };
    choice.hidden = true;
    document.getElementById("start-work").hidden = false;
    bar.hidden = false;
    bar.removeAttribute("value");
    show(failed);
    line.textContent = first;
    figure.textContent = "";
    try {
      await begin(result);
      if (!result.taken) throw new Error("None of these files could be read.");
      section.hidden = true;
      await ready(result);
    } catch (error) {
      toast(error.message, "bad");
      show(failed, result.failed.map((one) => el("li", { class: "notice warn" }, `${one.path}: ${one.reason}`)));
      line.textContent = figure.textContent = "";
      bar.hidden = true;
      document.getElementById("start-work").hidden = !failed.children.length;
      choice.hidden = false;
      files.value = "";
    }
  }
}
