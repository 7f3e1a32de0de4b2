// Every change of what a column is shows at once how the table is understood then.
"use strict";

const form = document.getElementById("begin");
let latest = 0;

async function understood() {
  const turn = ++latest;
  const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
  if (!answer.ok || turn !== latest) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("looked");
  if (!fresh) return;
  const name = document.activeElement?.name;
  const open = [...form.querySelectorAll("details[open] > summary")].map((one) => one.textContent);
  for (const one of fresh.querySelectorAll("summary")) if (open.includes(one.textContent)) one.parentElement.open = true;
  document.getElementById("looked").replaceChildren(...fresh.childNodes);
  if (name && form.elements[name]?.focus) form.elements[name].focus();
}

form.addEventListener("change", (event) => {
  if (event.target.name !== "name") understood();
});

// What was chosen before this script was here, or is restored by the browser.
if ([...form.querySelectorAll("option")].some((o) => o.selected && !o.defaultSelected && o.index > 0)) understood();
