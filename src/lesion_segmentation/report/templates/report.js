"use strict";
const byId = (id) => document.getElementById(id);
const gallery = byId("gallery");
const items = [...gallery.children];
const filters = { subset: byId("f-subset"), diagnosis: byId("f-diagnosis"), size: byId("f-size") };
const order = byId("f-order");

function getCase(item) { return item.querySelector(".case"); }

function arrange() {
  const compare = {
    up: (a, b) => getCase(a).dataset.dice - getCase(b).dataset.dice,
    down: (a, b) => getCase(b).dataset.dice - getCase(a).dataset.dice,
    id: (a, b) => getCase(a).dataset.id.localeCompare(getCase(b).dataset.id),
  }[order.value];
  let shown = 0;
  for (const item of items.slice().sort(compare)) {
    const data = getCase(item).dataset;
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
  byId("viewer-image").replaceChildren(button.querySelector("svg").cloneNode(true));
  byId("viewer-caption").textContent =
    `${button.lastElementChild.textContent}; ${button.dataset.diagnosis}; lesion covers ${button.dataset.size} of the image`;
  viewer.showModal();
}

for (const select of [...Object.values(filters), order]) select.addEventListener("change", arrange);
gallery.addEventListener("click", (event) => {
  const button = event.target.closest(".case");
  if (button) open(button.dataset.row);
});
for (const button of document.querySelectorAll("[data-open]")) button.addEventListener("click", () => open(button.dataset.open));
byId("viewer-close").addEventListener("click", () => viewer.close());
for (const name of ["contours", "disagreement"]) {
  byId(`v-${name}`).addEventListener("change", (event) =>
    byId("viewer-image").classList.toggle(`no-${name}`, !event.target.checked));
}
arrange();
