
"use strict";
// Without it the page is whole: it only adds sorting and filtering to tables of some length.
for (const box of document.querySelectorAll(".table")) {
  const body = box.querySelector("tbody");
  const rows = Array.from(body.rows);
  if (rows.length < 3) continue;
  const key = (row, at) => row.cells[at].dataset.sort ?? row.cells[at].textContent;
  const order = new Intl.Collator(undefined, { numeric: true });
  const heads = Array.from(box.querySelectorAll("thead th"));
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.textContent = head.dataset.title = head.textContent;
    head.replaceChildren(button);
    const isNumber = head.classList.contains("n");
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const sign = down ? -1 : 1;
      rows.sort((a, b) => sign * (isNumber ? Number(key(a, at)) - Number(key(b, at)) : order.compare(key(a, at), key(b, at))));
      body.append(...rows);
    });
  });
  if (rows.length < 6) continue;
  const bar = document.createElement("div");
  bar.className = "filter";
  const label = document.createElement("label");
  const input = document.createElement("input");
  input.type = "search";
  input.autocomplete = "off";
  const told = document.createElement("output");
  label.append("Filter " + box.dataset.name + " ", input);
  bar.append(label, told);
  box.prepend(bar);
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !words.every((word) => texts.get(row).includes(word));
      shown += row.hidden ? 0 : 1;
    }
    told.textContent = words.length ? shown.toLocaleString("en") + " of " + rows.length.toLocaleString("en") : "";
  });
}
