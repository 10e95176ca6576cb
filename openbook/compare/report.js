"use strict";
(() => {
  const form = document.getElementById("filters");
  if (!form) return;
  const cases = [...document.querySelectorAll(".case")];
  const count = document.getElementById("count");
  const groups = new Map(cases.map((one) => [one, JSON.parse(one.dataset.groups)]));
  const show = () => {
    const kind = form.elements.kind.value, arm = form.elements.arm.value, group = form.elements.group.value;
    const words = form.elements.words.value.trim().toLowerCase();
    let shown = 0;
    for (const one of cases) {
      const found = arm ? [groups.get(one)[arm]] : Object.values(groups.get(one));
      const fits = (!kind || one.dataset.kind === kind) && (!arm || found[0]) && (!group || found.includes(group)) &&
        (!words || one.textContent.toLowerCase().includes(words));
      one.hidden = !fits;
      shown += fits;
    }
    count.textContent = shown + " of " + cases.length + " cases";
  };
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(show));
  document.querySelector(".cases").addEventListener("keydown", (event) => {
    if (event.target.tagName !== "SUMMARY" || event.altKey || event.ctrlKey || event.metaKey) return;
    const open = cases.filter((one) => !one.hidden);
    const here = open.indexOf(event.target.parentElement);
    const next = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: open.length - 1 }[event.key];
    if (here < 0 || next === undefined || !open[next]) return;
    event.preventDefault();
    open[next].querySelector("summary").focus();
  });
  for (const link of document.querySelectorAll("[data-arm][data-group]")) {
    link.addEventListener("click", () => {
      form.reset();
      form.elements.arm.value = link.dataset.arm;
      form.elements.group.value = link.dataset.group;
      show();
    });
  }
  form.hidden = false;
  show();
})();
