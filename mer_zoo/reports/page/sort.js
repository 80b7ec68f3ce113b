"use strict";
// Buttons in the head of a table sort its rows: first the largest figure or the first name, then the other way round, then as they stood.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const isFigure = head.classList.contains("figure");
      const order = isFigure ? ["descending", "ascending", ""] : ["ascending", "descending", ""];
      const next = order[(order.indexOf(head.getAttribute("aria-sort") ?? "") + 1) % 3];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (next) head.setAttribute("aria-sort", next);
      const sign = next === "descending" ? -1 : 1;
      const value = (row) => {
        const cell = row.cells[column];
        if (!isFigure) return cell.textContent;
        return cell.dataset.key === "" ? null : Number(cell.dataset.key);
      };
      const compare = (one, other) => {
        const [a, b] = [value(one), value(other)];
        if (a === null || b === null) return (a === null) - (b === null); // what has no figure comes last either way
        return sign * (isFigure ? a - b : a.localeCompare(b, "en", { numeric: true }));
      };
      body.append(...(next ? [...original].sort(compare) : original));
      const said = next ? `sorted by ${head.textContent}, ${next}` : "in the order of the report";
      document.getElementById("told").textContent = `${table.caption.textContent}: ${said}`;
    });
  });
}
// What is folded would be missing on paper.
const folds = [...document.querySelectorAll("details")];
let closed = [];
addEventListener("beforeprint", () => {
  closed = folds.filter((fold) => !fold.open);
  closed.forEach((fold) => (fold.open = true));
});
addEventListener("afterprint", () => closed.forEach((fold) => (fold.open = false)));
