// What makes pages quicker: others' changes appear, running work is shown. All works without it.
"use strict";

const body = document.body;

/** Whether somebody has typed something into a form that is not sent yet. */
function typing() {
  return [...document.querySelectorAll("form[data-keep] input, form[data-keep] select")].some((field) => {
    if (field.type === "hidden") return false;
    if (field.type === "checkbox") return field.checked !== field.defaultChecked;
    if (field.tagName === "SELECT") {
      const usual = [...field.options].findIndex((o) => o.defaultSelected);
      return field.selectedIndex !== Math.max(usual, 0);
    }
    return field.value !== field.defaultValue;
  });
}

/** Replace the parts of the page that depend on the campaign. */
async function refresh() {
  const answer = await fetch(location.href);
  if (!answer.ok) return false;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-part]")) {
    const other = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
    if (other && other.innerHTML !== part.innerHTML) part.replaceChildren(...other.childNodes);
  }
  for (const field of document.querySelectorAll("form:not([data-keep]) input[name=version]")) {
    const other = fresh.querySelector("input[name=version]");
    if (other) field.value = other.value;
  }
  const whole = document.querySelector("form[data-keep][data-check]");
  if (whole && !typing()) {
    const other = fresh.getElementById(whole.id);
    if (other && !other.querySelector("[aria-invalid]")) {
      whole.replaceChildren(...other.childNodes);
    }
  } else if (whole) {
    document.getElementById("changed").hidden = false;
  } else {
    for (const field of document.querySelectorAll("form[data-keep] input[name=version]")) {
      const other = fresh.querySelector("input[name=version]");
      if (other) field.value = other.value;
    }
  }
  return true;
}

async function look() {
  let wait = 2500;
  try {
    if (!document.hidden) {
      const answer = await fetch(body.dataset.live);
      if (answer.status === 401 || answer.redirected) return location.reload();
      if (answer.ok) {
        const now = await answer.json();
        const jobs = document.getElementById("jobs");
        if (jobs.dataset.shown !== now.jobs) {
          const focused = jobs.contains(document.activeElement);
          jobs.innerHTML = now.jobs;
          jobs.dataset.shown = now.jobs;
          if (focused) jobs.querySelector("button")?.focus();
        }
        if (jobs.querySelector("progress")) wait = 700;
        if (now.stamp !== body.dataset.stamp) {
          if (await refresh()) body.dataset.stamp = now.stamp;
        }
      }
    }
  } catch {
    wait = 4000; // the server is away; it may come back
  }
  setTimeout(look, wait);
}

if (body.dataset.live) setTimeout(look, 700);

// A field that proposes the values of the column chosen beside it.
for (const select of document.querySelectorAll("select[data-levels]")) {
  const field = select.form.elements.value;
  select.addEventListener("change", () => {
    field.setAttribute("list", select.selectedOptions[0].dataset.list || "");
    field.value = "";
  });
}

// Forms that ask a question send it when an answer is chosen.
for (const form of document.querySelectorAll("form[data-submit]")) {
  form.addEventListener("change", () => form.requestSubmit());
}

for (const drop of document.querySelectorAll(".drop")) {
  const file = drop.querySelector("input[type=file]");
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) { file.files = event.dataTransfer.files; file.form.requestSubmit(); }
  });
  file.addEventListener("change", () => file.form.requestSubmit());
}
