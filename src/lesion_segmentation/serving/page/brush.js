"use strict";
// Correction of a mask with a brush. Nothing is sent to the server.

const MAX_UNDO = 20;
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function addBrush(entry) {
  const { card, answer: { width, height } } = entry;
  const canvas = card.querySelector(".image");
  const tools = card.querySelector(".tools");
  const size = tools.querySelector("input");
  const buttons = Object.fromEntries(["correct", "add", "remove", "undo", "reset", "save-labelme"].map(
    (name) => [name, card.querySelector(`.${name}`)]));
  const at = { x: width / 2, y: height / 2 };
  let adds = true;
  let painting = false;
  const earlier = [];
  const radius = () => Math.max(width, height) * size.value / 400;

  function update() {
    buttons.add.setAttribute("aria-pressed", adds);
    buttons.remove.setAttribute("aria-pressed", !adds);
    buttons.undo.disabled = !earlier.length;
    buttons.reset.disabled = !entry.corrected;
    draw(entry);
  }

  entry.drawBrush = (context) => {
    if (tools.hidden || document.activeElement !== canvas) return;
    context.strokeStyle = adds ? "#00ff5a" : "#ff4d4d";
    context.lineWidth = Math.max(1, width / 400);
    context.beginPath();
    context.arc(at.x, at.y, radius(), 0, 2 * Math.PI);
    context.stroke();
  };

  function remember() {
    earlier.push(entry.corrected);
    if (earlier.length > MAX_UNDO) earlier.shift();
    entry.corrected = binarize(entry).slice();
  }

  function paintTo(x, y) {
    const steps = Math.max(1, Math.ceil(Math.hypot(x - at.x, y - at.y) / Math.max(1, radius() / 2)));
    for (let step = 1; step <= steps; step++) {
      paintDisc(entry.corrected, width, height,
        at.x + (x - at.x) * step / steps, at.y + (y - at.y) * step / steps, radius(), adds ? 1 : 0);
    }
    const context = canvas.getContext("2d");  // the contour of a large mask would be too slow while the brush moves
    context.strokeStyle = adds ? "rgb(0 255 90 / 50%)" : "rgb(255 77 77 / 50%)";
    context.lineWidth = 2 * radius();
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(at.x, at.y);
    context.lineTo(x, y);
    context.stroke();
    move(x, y);
  }

  function move(x, y) {
    at.x = Math.min(width, Math.max(0, x));
    at.y = Math.min(height, Math.max(0, y));
  }

  function locate(event) {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * width / box.width, (event.clientY - box.top) * height / box.height];
  }

  function undo() {
    if (painting || !earlier.length) return;
    entry.corrected = earlier.pop();
    update();
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (tools.hidden || event.button) return;
    event.preventDefault();
    canvas.focus();
    canvas.setPointerCapture(event.pointerId);
    remember();
    painting = true;
    move(...locate(event));
    paintTo(at.x, at.y);
  });
  canvas.addEventListener("pointermove", (event) => { if (painting) paintTo(...locate(event)); });
  ["pointerup", "pointercancel"].forEach((name) => canvas.addEventListener(name, () => {
    if (painting) { painting = false; update(); }
  }));
  canvas.addEventListener("keydown", (event) => {
    if (tools.hidden) return;
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) { if (key !== "z") return; undo(); }
    else if (KEYS[event.key]) {
      const stride = event.shiftKey ? 1 : Math.max(1, radius() / 2);
      move(at.x + stride * KEYS[event.key][0], at.y + stride * KEYS[event.key][1]);
    }
    else if (key === " ") {
      if (!event.repeat || !entry.corrected) remember();
      paintTo(at.x, at.y);
    }
    else if (key === "a" || key === "r") adds = key === "a";
    else if (key === "+" || key === "-") size.value = Number(size.value) + (key === "+" ? 1 : -1);
    else return;
    event.preventDefault();
    update();
  });
  ["focus", "blur"].forEach((name) => canvas.addEventListener(name, () => draw(entry)));
  size.addEventListener("input", () => draw(entry));
  buttons.correct.addEventListener("click", () => {
    tools.hidden = !tools.hidden;
    buttons.correct.setAttribute("aria-expanded", !tools.hidden);
    canvas.tabIndex = tools.hidden ? -1 : 0;
    canvas.setAttribute("role", tools.hidden ? "img" : "application");
    update();
  });
  buttons.add.addEventListener("click", () => { adds = true; update(); });
  buttons.remove.addEventListener("click", () => { adds = false; update(); });
  buttons.undo.addEventListener("click", undo);
  buttons.reset.addEventListener("click", () => { earlier.push(entry.corrected); entry.corrected = null; update(); });
  buttons["save-labelme"].addEventListener("click", () => {
    offer(new Blob([JSON.stringify(toLabelMe(entry))], { type: "application/json" }),
      `${entry.name.replace(/\.[^.]*$/, "")}.json`);
  });
}

function paintDisc(mask, width, height, x, y, radius, value) {
  for (let row = Math.max(0, Math.floor(y - radius)); row < Math.min(height, y + radius); row++) {
    for (let column = Math.max(0, Math.floor(x - radius)); column < Math.min(width, x + radius); column++) {
      if ((column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2 <= radius ** 2) mask[row * width + column] = value;
    }
  }
}

// Return a LabelMe file with the outer outlines of the mask, like those of predict --annotations labelme.
function toLabelMe(entry) {
  const { width, height } = entry.answer;
  const shapes = traceOutlines(binarize(entry), width, height).map((points) => (
    { label: "lesion", shape_type: "polygon", group_id: null, description: "", flags: {}, points }));
  return { version: "5.6.1", flags: {}, shapes, imagePath: entry.name, imageData: null, imageHeight: height,
    imageWidth: width };
}

// Follow the sides of pixels clockwise around the lesion. Outlines of holes run counterclockwise and are left out.
function traceOutlines(mask, width, height) {
  const isLesion = (x, y) => x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x] === 1;
  const next = new Map();
  const addSide = (x, y, toX, toY) => {
    const from = y * (width + 1) + x;
    next.set(from, [...(next.get(from) || []), [toX, toY]]);
  };
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    if (!mask[y * width + x]) continue;
    if (!isLesion(x, y - 1)) addSide(x, y, x + 1, y);
    if (!isLesion(x + 1, y)) addSide(x + 1, y, x + 1, y + 1);
    if (!isLesion(x, y + 1)) addSide(x + 1, y + 1, x, y + 1);
    if (!isLesion(x - 1, y)) addSide(x, y + 1, x, y);
  }
  const outlines = [];
  for (const start of next.keys()) while (next.get(start).length) {
    const points = [];
    let [x, y] = [start % (width + 1), Math.floor(start / (width + 1))];
    do {
      points.push([x, y]);
      [x, y] = next.get(y * (width + 1) + x).pop();
    } while (y * (width + 1) + x !== start);
    const area = points.reduce((sum, [px, py], i) => {
      const [qx, qy] = points[(i + 1) % points.length];
      return sum + (px * qy - qx * py) / 2;
    }, 0);
    if (area > 0) outlines.push(simplify(points, Math.sqrt(area) / 100));
  }
  return outlines;
}

// Drop points that are nearer than the tolerance to the outline, by the algorithm of Ramer, Douglas and Peucker.
function simplify(points, tolerance) {
  const distance = ([ax, ay], [bx, by], [x, y]) => {
    const length = Math.hypot(bx - ax, by - ay);
    return length ? Math.abs((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / length : Math.hypot(x - ax, y - ay);
  };
  const closed = [...points, points[0]];
  const kept = new Set([0]);
  const spans = [[0, points.length]];
  while (spans.length) {
    const [first, last] = spans.pop();
    let farthest = 0, middle = first;
    for (let i = first + 1; i < last; i++) {
      const found = distance(closed[first], closed[last], closed[i]);
      if (found > farthest) { farthest = found; middle = i; }
    }
    if (farthest > tolerance) {
      kept.add(middle);
      spans.push([first, middle], [middle, last]);
    }
  }
  return [...kept].sort((a, b) => a - b).map((i) => points[i]);
}
