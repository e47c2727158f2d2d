"use strict";
const byId = (id) => document.getElementById(id);
const gallery = byId("gallery");
const items = [...gallery.children];
const filters = { subset: byId("f-subset"), diagnosis: byId("f-diagnosis"), size: byId("f-size") };
const order = byId("f-order");

function arrange() {
  const compare = {
    up: (a, b) => a.dataset.dice - b.dataset.dice,
    down: (a, b) => b.dataset.dice - a.dataset.dice,
    id: (a, b) => a.dataset.id.localeCompare(b.dataset.id),
  }[order.value];
  let shown = 0;
  for (const item of items.slice().sort(compare)) {
    item.hidden = Object.entries(filters).some(([name, select]) => select.value && item.dataset[name] !== select.value);
    shown += item.hidden ? 0 : 1;
    gallery.append(item);
  }
  byId("shown").textContent = `${shown} of ${items.length} shown`;
}

const viewer = byId("viewer");
function open(item) {
  byId("viewer-title").textContent = item.dataset.id;
  byId("viewer-image").replaceChildren(item.querySelector("svg").cloneNode(true));
  byId("viewer-caption").textContent =
    `${item.querySelector("span").textContent}; ${item.dataset.diagnosis}; lesion covers ${item.dataset.size} of the image`;
  viewer.showModal();
}

for (const select of [...Object.values(filters), order]) select.addEventListener("change", arrange);
for (const item of document.querySelectorAll(".cases li")) item.addEventListener("click", () => open(item));
byId("viewer-close").addEventListener("click", () => viewer.close());
for (const name of ["contours", "disagreement"]) {
  byId(`v-${name}`).addEventListener("change", (event) =>
    byId("viewer-image").classList.toggle(`no-${name}`, !event.target.checked));
}
arrange();

// Unfold what a link leads to, before the browser scrolls there, and everything before the page is printed.
function unfold(target) {
  for (let each = target; each; each = each.parentElement) if (each.matches("details")) each.open = true;
}
for (const link of document.querySelectorAll('a[href^="#"]')) link.addEventListener("click", () => unfold(byId(link.hash.slice(1))));
unfold(byId(location.hash.slice(1)));
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(unfold));

// Plotly drew each plot before the ones beside it took their share of the width.
addEventListener("load", () => dispatchEvent(new Event("resize")));
