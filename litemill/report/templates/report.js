"use strict";
(() => {
  const tip = document.getElementById("tip");
  const marked = (recipe) => document.querySelectorAll(`[data-recipe="${CSS.escape(recipe)}"]`);
  const light = (recipe, on) => marked(recipe).forEach((item) => item.classList.toggle("lit", on));

  function show(point) {
    const box = point.querySelector(".mark").getBoundingClientRect();
    tip.replaceChildren(...point.dataset.told.split("\n").map((line, place) => {
      const item = document.createElement(place ? "div" : "strong");
      item.textContent = line;
      return item;
    }));
    tip.hidden = false;
    const size = tip.getBoundingClientRect();
    const right = box.right + 12 + size.width < innerWidth;
    tip.style.left = `${Math.max(8, right ? box.right + 12 : box.left - 12 - size.width)}px`;
    tip.style.top = `${Math.max(8, Math.min(box.top - 12, innerHeight - size.height - 8))}px`;
  }

  document.querySelectorAll(".point").forEach((point) => {
    const on = () => { show(point); light(point.dataset.recipe, true); };
    const off = () => { tip.hidden = true; light(point.dataset.recipe, false); };
    point.addEventListener("mouseenter", on);
    point.addEventListener("mouseleave", off);
    point.addEventListener("focus", on);
    point.addEventListener("blur", off);
  });
  document.querySelectorAll("tr[data-recipe]").forEach((row) => {
    row.addEventListener("mouseenter", () => light(row.dataset.recipe, true));
    row.addEventListener("mouseleave", () => light(row.dataset.recipe, false));
  });

  // Other tables get the heads of their columns as labels too, for phones.
  document.querySelectorAll(".wide table:not(.cards):not(.confusion)").forEach((table) => {
    table.classList.add("cards");
    const heads = [...table.querySelectorAll("thead th")].map((head) => head.textContent);
    table.querySelectorAll("tbody tr").forEach((row) => [...row.cells].forEach((cell, at) => { cell.dataset.label = heads[at] ?? ""; }));
  });

  document.querySelectorAll("th[data-sort]").forEach((head) => {
    head.tabIndex = 0;
    const sort = () => {
      const table = head.closest("table");
      const column = Number(head.dataset.sort);
      const up = head.getAttribute("aria-sort") !== "ascending";
      table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((one, other) => {
        const [a, b] = [key(one), key(other)];
        if (a === "" || b === "") return (a === "") - (b === "");
        const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
        return up ? order : -order;
      });
      body.append(...rows);
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  });
})();
