// The first run: files or the sample in, live progress, then questions to begin with.

import { api, count, el, job, show, toast } from "./app.js";

const NAMES = { read: "Reading", parse: "Reading", embed: "Learning what is where", write: "Filing", commit: "Filing", upload: "Receiving", queued: "Waiting for its turn", load: "Loading the model" };

export function start(ready) {
  const section = document.getElementById("start");
  const choice = document.getElementById("start-choice");
  if (!section || !choice) return;
  const drop = document.getElementById("drop");
  const files = document.getElementById("files");

  files.addEventListener("change", () => files.files.length && give([...files.files]));
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); give([...event.dataTransfer.files]); });
  document.getElementById("sample").addEventListener("click", () => work("Fetching the handbook…", () => api("/api/sample", { method: "POST" })));

  function give(chosen) {
    if (!chosen.length) return;
    const body = new FormData();
    for (const file of chosen) body.append("files", file, file.name);
    work(`Receiving ${count(chosen.length, "file")}…`, () => api("/api/documents", { method: "POST", body }));
  }

  async function work(first, begin) {
    const line = document.getElementById("start-step");
    const figure = document.getElementById("start-figure");
    const bar = document.getElementById("start-bar");
    const failed = document.getElementById("start-failed");
    choice.hidden = true;
    document.getElementById("start-work").hidden = false;
    bar.removeAttribute("value");
    show(failed);
    line.textContent = first;
    try {
      const { job: id } = await begin();
      const done = await job(id?.id ?? id, { event: ({ step, done, total }) => {
        if (!step) return;
        line.textContent = `${NAMES[step] ?? step}…`;
        figure.textContent = total ? `${done} of ${total}` : "";
        if (total) bar.value = done / total;
      } });
      const result = done.result ?? {};
      show(failed, (result.failed ?? []).map((one) => el("li", { class: "notice warn" }, `${one.path}: ${one.reason}`)));
      if (done.state !== "succeeded") throw new Error(done.error || "The documents were not taken in.");
      if (!(result.added || result.changed || result.unchanged)) throw new Error("None of these files could be read.");
      section.hidden = true;
      await ready(result);
    } catch (error) {
      toast(error.message, "bad");
      document.getElementById("start-work").hidden = !failed.children.length;
      choice.hidden = false;
      files.value = "";
    }
  }
}
