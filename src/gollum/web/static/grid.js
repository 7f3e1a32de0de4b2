// The grid of results: keys, pasting from spreadsheets, and what is wrong while one types.
"use strict";

const form = document.getElementById("grid");
let due = 0;

/** The fields of the grid by row, as they are seen. */
function cells() {
  return [...form.querySelectorAll("tbody tr")].map((row) => [
    ...row.querySelectorAll("input:not([type=hidden]), select"),
  ]);
}

function place(field) {
  const rows = cells();
  const row = rows.findIndex((fields) => fields.includes(field));
  return { rows, row, column: row < 0 ? -1 : rows[row].indexOf(field) };
}

/** The field of a row in the same column of the table. */
function across(rows, row, name) {
  return rows[row]?.find((field) => field.dataset.column === name);
}

function put(field, text) {
  if (field.tagName === "SELECT") {
    const wanted = text.trim().toLowerCase();
    const option = [...field.options].find((o) => o.value === wanted);
    if (option) field.value = option.value;
  } else {
    field.value = text.trim();
  }
}

form.addEventListener("keydown", (event) => {
  const field = event.target;
  if (!field.dataset?.column) return;
  const { rows, row, column } = place(field);
  const step = { ArrowUp: -1, ArrowDown: 1, Enter: event.shiftKey ? -1 : 1 }[event.key];
  if (step && !(field.tagName === "SELECT" && event.key !== "Enter")) {
    event.preventDefault();
    const next = across(rows, row + step, field.dataset.column);
    next?.focus();
    next?.select?.();
    return;
  }
  const atEnd = field.tagName !== "SELECT" && field.selectionStart === field.value.length;
  const atStart = field.tagName !== "SELECT" && field.selectionEnd === 0;
  if (event.key === "ArrowRight" && atEnd) rows[row][column + 1]?.focus();
  if (event.key === "ArrowLeft" && atStart) rows[row][column - 1]?.focus();
});

form.addEventListener("paste", (event) => {
  const text = event.clipboardData.getData("text/plain");
  const field = event.target;
  if (!field.dataset?.column || !/[\t\n]/.test(text.trim())) return;
  event.preventDefault();
  const { rows, row, column } = place(field);
  const names = rows[row].slice(column).map((one) => one.dataset.column);
  text.replace(/\r?\n$/, "").split(/\r?\n/).forEach((line, i) => {
    line.split("\t").forEach((cell, j) => {
      const target = names[j] && across(rows, row + i, names[j]);
      if (target) put(target, cell);
    });
  });
  later();
});

form.addEventListener("input", later);

function later() {
  clearTimeout(due);
  due = setTimeout(check, 350);
}

/** Ask what recording would do, and mark what is wrong in its cell. */
async function check() {
  const answer = await fetch(form.dataset.check, { method: "POST", body: new URLSearchParams(new FormData(form)) });
  if (!answer.ok) return;
  const found = await answer.json();
  const problem = document.getElementById("problem");
  for (const field of form.querySelectorAll("[aria-invalid]")) {
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-describedby");
  }
  const rows = cells();
  for (const { row, column } of found.places || []) {
    const fields = rows[row - 1] || [];
    for (const field of column ? fields.filter((one) => one.dataset.column === column) : fields) {
      field.setAttribute("aria-invalid", "true");
      field.setAttribute("aria-describedby", "problem");
    }
  }
  problem.textContent = found.problem || "";
  problem.hidden = !found.problem;
  document.getElementById("understood").textContent = found.summary ? `So far: ${found.summary}` : "";
  document.getElementById("notes").replaceChildren(
    ...(found.notes || []).map((note) => Object.assign(document.createElement("li"), { textContent: note })),
  );
}
