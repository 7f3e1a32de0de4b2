// Moving experiments on a plate, by mouse or keyboard; the address of the page keeps the layout.
"use strict";

const plate = document.getElementById("plate");
const said = document.getElementById("moved");
const wells = [...plate.querySelectorAll("td[data-well]")];
const wide = plate.querySelectorAll("thead th").length;
let held = null;

/** The layout as an address says it. */
function query() {
  const form = document.getElementById("layout");
  const pairs = wells.filter((w) => w.dataset.run).map((w) => `${w.dataset.run}.${w.dataset.well}`);
  const controls = wells.filter((w) => w.classList.contains("control")).map((w) => w.dataset.well);
  form.elements.controls.value = controls.join(" ");
  form.querySelector("input[name=wells]").value = pairs.join(" ");
  const now = {
    size: form.elements.size.value, order: form.elements.order.value, controls: controls.join(" "), wells: pairs.join(" "),
  };
  const fields = document.getElementById("keep")?.elements;
  for (const name in now) if (fields) fields[name].value = now[name];
  return new URLSearchParams(now);
}

function keep(words) {
  const now = query();
  history.replaceState(null, "", `?${now}`);
  for (const link of document.querySelectorAll("a[data-query]")) link.href = `${link.href.split("?")[0]}?${now}`;
  said.textContent = words;
  readAnew(now);
}

/** The list in reading order, which the server makes. */
async function readAnew(now) {
  const answer = await fetch(`?${now}`);
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("reading");
  if (fresh) document.getElementById("reading")?.replaceChildren(...fresh.childNodes);
}

function show(well, run, control, title) {
  well.dataset.run = run;
  well.className = control ? "control" : run ? "filled" : "free";
  well.textContent = control ? "control" : run;
  well.title = title || "";
  well.draggable = Boolean(run);
  well.setAttribute("aria-label", `${well.dataset.well}: ${control ? "control" : run || "free"}`);
}

function exchange(from, to) {
  const [a, b] = [from, to].map((w) => [w.dataset.run, w.classList.contains("control"), w.title]);
  show(from, ...b);
  show(to, ...a);
  keep(`${a[0] || "control"} is in ${to.dataset.well} now.`);
}

function pick(well) {
  held?.classList.remove("held");
  if (held && held !== well) {
    exchange(held, well);
    held = null;
  } else if (held) {
    held = null;
    said.textContent = "Put back.";
  } else if (well.dataset.run || well.classList.contains("control")) {
    held = well;
    held.classList.add("held");
    said.textContent = `${well.dataset.run || "Control"} of ${well.dataset.well} is picked up; go to another well and press Enter.`;
  }
}

function focus(well) {
  if (!well) return;
  for (const other of wells) other.tabIndex = -1;
  well.tabIndex = 0;
  well.focus();
}

plate.addEventListener("keydown", (event) => {
  const at = wells.indexOf(event.target);
  if (at < 0) return;
  const column = at % wide;
  const steps = { ArrowLeft: column > 0 ? -1 : 0, ArrowRight: column < wide - 1 ? 1 : 0, ArrowUp: -wide, ArrowDown: wide };
  if (event.key in steps) {
    event.preventDefault();
    focus(wells[at + steps[event.key]]);
  } else if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    pick(wells[at]);
  } else if (event.key === "Escape" && held) {
    pick(held);
  } else if (event.key.toLowerCase() === "c") {
    const well = wells[at];
    if (well.dataset.run) said.textContent = "An experiment is there; move it first.";
    else {
      const control = !well.classList.contains("control");
      show(well, "", control, "");
      keep(`${well.dataset.well} is ${control ? "a control" : "free"} now.`);
    }
  }
});

plate.addEventListener("click", (event) => {
  const well = event.target.closest("td[data-well]");
  if (well) { focus(well); pick(well); }
});
plate.addEventListener("dragstart", (event) => event.dataTransfer.setData("text/plain", event.target.dataset.well));
plate.addEventListener("dragover", (event) => event.preventDefault());
plate.addEventListener("drop", (event) => {
  event.preventDefault();
  const from = wells.find((w) => w.dataset.well === event.dataTransfer.getData("text/plain"));
  const to = event.target.closest("td[data-well]");
  if (from && to && from !== to) exchange(from, to);
});

for (const select of document.querySelectorAll("#layout select")) {
  select.addEventListener("change", () => {
    query();
    document.querySelector("#layout input[name=wells]").value = "";
    select.form.requestSubmit();
  });
}
for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}
