"use strict";
const number = text => parseFloat(text.replace(/^< /, "").replaceAll(",", ""));
const text = (row, column) => row.cells[column].textContent.trim();

function compare(one, other, column, sign) {
  const left = text(one, column), right = text(other, column);
  const [a, b] = column ? [number(left), number(right)] : [NaN, NaN];
  if (isNaN(a) !== isNaN(b)) return isNaN(a) ? 1 : -1;  // what has no number stays below
  if (a !== b && !isNaN(a)) return sign * (a - b);
  return sign * (left < right ? -1 : left > right ? 1 : 0);
}

function sort(button) {
  const head = button.closest("th"), table = head.closest("table");
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows];
  rows.sort((one, other) => compare(one, other, head.cellIndex, down ? -1 : 1));
  table.tBodies[0].append(...rows);
}

function filter(input) {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [...document.querySelectorAll("tbody tr")];
  for (const row of rows) {
    const found = row.textContent.toLowerCase();
    row.hidden = !words.every(word => found.includes(word));
  }
  const left = rows.filter(row => !row.hidden).length;
  document.getElementById("left").textContent = words.length ? `${left} of ${rows.length} rows` : "";
}

const input = document.getElementById("filter");
input.addEventListener("input", () => filter(input));
input.closest(".filter").hidden = false;
for (const button of document.querySelectorAll("th button")) {
  button.disabled = false;
  button.addEventListener("click", () => sort(button));
}
