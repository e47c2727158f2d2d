"use strict";
// Each image is sent to /predict once. The response contains the probabilities, to which the page applies other
// thresholds without another request.

const RULES = {
  "no-lesion": "no pixel is lesion",
  "small": "the lesion covers less than 1% of the image",
  "fills": "the lesion covers more than 99% of the image",
  "unsure": "the network is unsure of the mask",
  "flat": "the image has almost no contrast",
  "grey": "the image has no colors, unlike dermoscopic images",
};
const find = (id) => document.getElementById(id);
const entries = [];
let version = { threshold: 0.5, keep_largest_component: false };
let running = Promise.resolve();
let thresholdMoved = false;  // until then the page shows the masks of the server

fetch("version").then((response) => response.json()).then((found) => {
  version = found;
  find("threshold").value = found.threshold;
  find("shown").textContent = found.threshold.toFixed(2);
  document.querySelector(".token").hidden = !found.needs_token;
  find("network").prepend(`Network: ${found.architecture}, trained on ${found.trained_on || "unknown data"}. `);
  find("network").querySelector("a").hidden = !found.model_card;
  showThreshold();
}).catch(() => showStatus("The server does not respond."));

function showStatus(text) { find("status").textContent = text; }

function add(files) {
  const images = [...files].filter((file) => file.type.startsWith("image/") || file.type === "" || /\.dcm$/i.test(file.name));
  if (!images.length) { showStatus("None of these files is an image."); return; }
  images.forEach((file) => { running = running.then(() => predict(file)); });
}

async function predict(file) {
  const name = file.name || "pasted image";
  showStatus(`Predicting the mask of ${name}.`);
  const form = new FormData();
  form.append("file", file);
  const token = find("token").value;
  try {
    const response = await fetch("predict?probability=true", {
      method: "POST", body: form, headers: token ? { Authorization: `Bearer ${token}` } : {},
    });
    const notJson = { detail: `The server or its proxy answered with status ${response.status}.` };
    const answer = await response.json().catch(() => notJson);
    if (!response.ok) { showStatus(`${name}: ${answer.detail}`); return; }
    const [image, probability, serverMask] = await Promise.all([
      readImage(file), readGrey(answer.probability, answer), readGrey(answer.mask, answer)]);
    show({ name, answer, image, probability, serverMask });
    showStatus(`${name}: the lesion covers ${Math.round(10 * answer.lesion_percent) / 10}% of the image.`);
  } catch {
    showStatus(`${name}: the server does not respond.`);
  }
}

async function readImage(file) {
  try { return await createImageBitmap(file); } catch { return null; }  // a format that this browser cannot display
}

async function readGrey(png, answer) {
  const image = new Image();
  image.src = `data:image/png;base64,${png}`;
  await image.decode();
  const canvas = new OffscreenCanvas(answer.width, answer.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, answer.width, answer.height);
  const grey = new Uint8Array(answer.width * answer.height);
  for (let i = 0; i < grey.length; i++) grey[i] = data[4 * i];
  return grey;
}

function show(entry) {
  const card = find("card").content.firstElementChild.cloneNode(true);
  card.querySelector("h3").textContent = entry.name;
  card.querySelector("input").addEventListener("change", () => draw(entry));
  card.querySelector(".save-mask").addEventListener("click", () => save(card.querySelector(".mask"), entry, "mask"));
  const saveOverlay = () => save(card.querySelector(".image"), entry, "overlay");
  card.querySelector(".save-overlay").addEventListener("click", saveOverlay);
  card.querySelector(".flags").textContent = entry.answer.flag.map((name) => RULES[name] || name).join("; ");
  entry.card = card;
  addBrush(entry);
  entries.push(entry);
  find("cards").prepend(card);
  find("results").hidden = false;
  draw(entry);
}

function binarize(entry) {
  if (entry.corrected) return entry.corrected;
  if (!thresholdMoved) return entry.serverMask.map((value) => (value ? 1 : 0));
  const level = Number(find("threshold").value) * 255;
  const mask = new Uint8Array(entry.probability.length);
  for (let i = 0; i < mask.length; i++) mask[i] = entry.probability[i] > level ? 1 : 0;
  return version.keep_largest_component ? selectLargestComponent(mask, entry.answer.width, entry.answer.height) : mask;
}

// Keep the largest connected component and fill its holes, like select_largest_component in images/masks.py.
function selectLargestComponent(mask, width, height) {
  const inside = label(mask, 1, width, height, true);
  if (!inside.sizes.length) return mask;
  const largest = 1 + inside.sizes.indexOf(Math.max(...inside.sizes));
  const kept = inside.labels.map((each) => (each === largest ? 1 : 0));
  const outside = label(kept, 0, width, height, false);
  const open = new Set();
  for (let x = 0; x < width; x++) { open.add(outside.labels[x]); open.add(outside.labels[(height - 1) * width + x]); }
  for (let y = 0; y < height; y++) {
    open.add(outside.labels[y * width]);
    open.add(outside.labels[(y + 1) * width - 1]);
  }
  return kept.map((value, i) => (value || !open.has(outside.labels[i]) ? 1 : 0));
}

function label(mask, value, width, height, corners) {
  const labels = new Int32Array(mask.length);
  const sizes = [];
  const stack = [];
  for (let start = 0; start < mask.length; start++) {
    if (mask[start] !== value || labels[start]) continue;
    sizes.push(0);
    labels[start] = sizes.length;
    stack.push(start);
    while (stack.length) {
      const at = stack.pop();
      sizes[sizes.length - 1]++;
      const x = at % width, y = (at - x) / width;
      for (let dy = -1; dy <= 1; dy++) for (let dx = -1; dx <= 1; dx++) {
        if (!corners && dx && dy) continue;
        const nx = x + dx, ny = y + dy, next = ny * width + nx;
        if (nx < 0 || ny < 0 || nx >= width || ny >= height || mask[next] !== value || labels[next]) continue;
        labels[next] = sizes.length;
        stack.push(next);
      }
    }
  }
  return { labels, sizes };
}

function draw(entry) {
  const { card, answer, image } = entry;
  const { width, height } = answer;
  const mask = binarize(entry);
  const area = mask.reduce((sum, value) => sum + value, 0);
  const percent = (100 * area / mask.length).toFixed(1);
  const plain = card.querySelector("input").checked;
  paintMask(card.querySelector(".mask"), mask, width, height);
  const canvas = card.querySelector(".image");
  canvas.width = width; canvas.height = height;
  const context = canvas.getContext("2d");
  if (image) context.drawImage(image, 0, 0, width, height);
  if (!plain) paintContour(context, mask, width, height);
  entry.drawBrush(context);
  const contourLabel = plain ? "" : ` with the contour of the lesion, which covers ${percent}% of the image`;
  canvas.setAttribute("aria-label", entry.name + contourLabel);
  const maskLabel = `Mask of ${entry.name}: the lesion covers ${percent}% of the image`;
  card.querySelector(".mask").setAttribute("aria-label", maskLabel);
  card.querySelector("figcaption").textContent = plain ? "Image" : "Contour";
  const expectedDice = entry.corrected ? null : answer.expected_dice;
  const percentOf = (share) => (100 * share).toFixed(0);
  let expected = entry.corrected ? "unknown for a corrected mask" : "unknown";
  if (expectedDice !== null) {
    expected = `${percentOf(expectedDice)}% at the threshold ${answer.threshold}; 80% of such masks have ` +
      `${percentOf(answer.expected_dice_low)} to ${percentOf(answer.expected_dice_high)}%`;
  }
  const corrected = entry.corrected ? ", corrected by hand" : "";
  const facts = { "Area": `${area.toLocaleString("en")} pixels, ${percent}% of ${width} × ${height}${corrected}`,
    "Expected Dice": expected,
    "Confidence": `${(100 * answer.confidence).toFixed(1)}%, mean over all pixels at the threshold ${answer.threshold}`,
    "Seconds": answer.seconds.toFixed(2) };
  card.querySelector("dl").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => {
    const term = document.createElement("dt"), detail = document.createElement("dd");
    term.textContent = name; detail.textContent = value;
    return [term, detail];
  }));
  entry.row = { image: entry.name, width, height, threshold: find("threshold").value, lesion_area: area,
    lesion_percent: percent, confidence: answer.confidence,
    expected_dice: expectedDice ?? "", corrected: Boolean(entry.corrected), flag: answer.flag.join(" ") };
}

function paintMask(canvas, mask, width, height) {
  canvas.width = width; canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < mask.length; i++) {
    image.data[4 * i] = image.data[4 * i + 1] = image.data[4 * i + 2] = mask[i] ? 255 : 0;
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

function paintContour(context, mask, width, height) {
  context.strokeStyle = "#00ff5a";
  context.lineWidth = Math.max(1.5, Math.max(width, height) / 300);
  context.beginPath();
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const i = y * width + x;
    if (x + 1 < width && mask[i] !== mask[i + 1]) { context.moveTo(x + 1, y); context.lineTo(x + 1, y + 1); }
    if (y + 1 < height && mask[i] !== mask[i + width]) { context.moveTo(x, y + 1); context.lineTo(x + 1, y + 1); }
  }
  context.stroke();
}

function save(canvas, entry, kind) {
  canvas.toBlob((blob) => offer(blob, `${entry.name.replace(/\.[^.]*$/, "")}_${kind}.png`), "image/png");
}

function offer(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function saveTable() {
  const names = Object.keys(entries[0].row);
  const quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;
  const lines = [names.join(","), ...entries.map((entry) => names.map((name) => quoted(entry.row[name])).join(","))];
  offer(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }), "masks.csv");
}

function showThreshold() {
  find("shown").textContent = Number(find("threshold").value).toFixed(2);
  entries.forEach(draw);
}

const drop = find("drop");
find("files").addEventListener("change", (event) => { add(event.target.files); event.target.value = ""; });
find("example").addEventListener("click", async () => {
  const response = await fetch("static/example.jpg").catch(() => null);
  if (!response?.ok) { showStatus("The server does not respond."); return; }
  add([new File([await response.blob()], "example.jpg", { type: "image/jpeg" })]);
});
find("threshold").addEventListener("input", () => { thresholdMoved = true; showThreshold(); });
find("table").addEventListener("click", saveTable);
find("clear").addEventListener("click", () => {
  entries.length = 0;
  find("cards").replaceChildren();
  find("results").hidden = true;
  showStatus("All images have been removed.");
  find("files").focus();
});
["dragenter", "dragover"].forEach((name) => drop.addEventListener(name, (event) => {
  event.preventDefault();
  drop.classList.add("over");
}));
["dragleave", "drop"].forEach((name) => drop.addEventListener(name, () => drop.classList.remove("over")));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer) add(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) add(event.clipboardData.files);
});
