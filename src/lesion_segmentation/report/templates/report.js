"use strict";
const byId = (id) => document.getElementById(id);
const gallery = byId("gallery");
const items = [...gallery.children];
const filters = { subset: byId("f-subset"), diagnosis: byId("f-diagnosis"), size: byId("f-size") };
const order = byId("f-order");

function caseOf(item) { return item.querySelector(".case"); }

function arrange() {
  const compare = {
    up: (a, b) => caseOf(a).dataset.dice - caseOf(b).dataset.dice,
    down: (a, b) => caseOf(b).dataset.dice - caseOf(a).dataset.dice,
    id: (a, b) => caseOf(a).dataset.id.localeCompare(caseOf(b).dataset.id),
  }[order.value];
  let shown = 0;
  for (const item of items.slice().sort(compare)) {
    const data = caseOf(item).dataset;
    item.hidden = Object.entries(filters).some(([name, select]) => select.value && data[name] !== select.value);
    shown += item.hidden ? 0 : 1;
    gallery.append(item);
  }
  byId("shown").textContent = `${shown} of ${items.length} shown`;
}

const viewer = byId("viewer");
function open(row) {
  const button = gallery.querySelector(`.case[data-row="${row}"]`);
  byId("viewer-title").textContent = button.dataset.id;
  byId("viewer-picture").replaceChildren(button.querySelector("svg").cloneNode(true));
  byId("viewer-words").textContent =
    `${button.lastElementChild.textContent}; ${button.dataset.diagnosis}; lesion ${button.dataset.size} of the picture`;
  viewer.showModal();
}

for (const select of [...Object.values(filters), order]) select.addEventListener("change", arrange);
gallery.addEventListener("click", (event) => {
  const button = event.target.closest(".case");
  if (button) open(button.dataset.row);
});
for (const button of document.querySelectorAll("[data-open]")) button.addEventListener("click", () => open(button.dataset.open));
byId("viewer-close").addEventListener("click", () => viewer.close());
for (const name of ["outlines", "disagreement"]) {
  byId(`v-${name}`).addEventListener("change", (event) =>
    byId("viewer-picture").classList.toggle(`no-${name}`, !event.target.checked));
}
arrange();
