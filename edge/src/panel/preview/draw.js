// Drawing a region or a mask on the live picture, and the TOML of it to copy.
//
// Nothing is sent: the text goes into the edge's configuration by hand. A rectangle is dragged; each press adds a corner to a
// polygon. Corners are fractions of the frame. The server gives the place of the frame in the shown picture: two pictures side
// by side, margins and a turned display are taken into account.

"use strict";
const DECIMALS = 4, CORNERS_MIN = 3, CORNERS_MAX = 32;
const part = id => document.getElementById(id), lines = part("lines"), shown = part("picture");
let maps = [], rect = null, polygon = [], start = null;

// The rectangle of the window in which the browser shows the picture: the largest of its aspect ratio within the element.
function box() {
  const { left, top, width, height } = shown.getBoundingClientRect();
  const scale = Math.min(width / (shown.naturalWidth || 1), height / (shown.naturalHeight || 1));
  const [w, h] = [shown.naturalWidth * scale, shown.naturalHeight * scale];
  return { x: left + (width - w) / 2, y: top + (height - h) / 2, w, h };
}

// From a point of the window to one of the frame, by map `m`; and back.
function toFrame([a, b, c, d, e, f], x, y) {
  const { x: left, y: top, w, h } = box(), u = (x - left) / w, v = (y - top) / h;
  return [a * u + b * v + c, d * u + e * v + f];
}
function toWindow([a, b, c, d, e, f], [x, y]) {
  const { x: left, y: top, w, h } = box(), det = a * e - b * d, p = x - c, q = y - f;
  return [left + w * (e * p - b * q) / det, top + h * (a * q - d * p) / det];
}

const limit = v => Math.min(1, Math.max(0, v)), short = v => String(+v.toFixed(DECIMALS)), pair = c => `[${c.map(short).join(", ")}]`;
const isPolygon = () => part("shape").value === "polygon";

function corners() {
  if (isPolygon()) return polygon;
  if (!rect) return [];
  const [[x0, y0], [x1, y1]] = rect;
  return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
}

function show() {
  const open = part("draw").open, name = part("name"), isRegion = part("kind").value === "region";
  lines.classList.toggle("drawing", open);
  name.hidden = !isRegion;
  const of = open ? corners() : [];
  const isWhole = isPolygon() ? of.length >= CORNERS_MIN : rect !== null, isNamed = !isRegion || /^[a-z0-9-]{1,24}$/.test(name.value);
  part("copy").disabled = !isWhole || !isNamed;
  let shape = `polygon = [${of.map(pair).join(", ")}]`;
  if (!isPolygon() && rect) {
    // Both edges are rounded, so that a rectangle that reaches the border does not pass it.
    const [x0, y0, x1, y1] = [...of[0], ...of[2]].map(v => +v.toFixed(DECIMALS));
    shape = `rect = ${pair([x0, y0, x1 - x0, y1 - y0])}`;
  }
  part("toml").textContent = isWhole ? `${isRegion ? `[[region]]\nname = "${name.value}"` : "[[mask]]"}\n${shape}\n` : "";
  part("advice").textContent = !isNamed ? "A name has 1 to 24 of a-z, 0-9 and -." : isWhole ? "Put it into the edge's configuration, and start the edge again." : isPolygon() ? `Press where the corners are: ${CORNERS_MIN} to ${CORNERS_MAX}.` : "Drag a rectangle on the picture.";
  // Last, for the text may have moved the picture.
  lines.replaceChildren(...maps.filter(() => of.length > 0).map(m => {
    const outline = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
    outline.setAttribute("points", of.map(corner => toWindow(m, corner).join(",")).join(" "));
    return outline;
  }));
}

async function locate() {
  try { ({ maps } = await (await fetch("/places", { cache: "no-store" })).json()); } catch { maps = []; }
  show();
}

// The frame's point under the pointer; a press outside of every picture counts for none.
function under(event) {
  const inside = ([x, y]) => x >= 0 && x <= 1 && y >= 0 && y <= 1;
  return maps.map((m, i) => [i, toFrame(m, event.clientX, event.clientY)]).find(([, point]) => inside(point));
}
lines.addEventListener("pointerdown", event => {
  const hit = under(event);
  if (!hit) return;
  event.preventDefault();
  if (isPolygon()) {
    if (polygon.length < CORNERS_MAX) polygon.push(hit[1]);
  } else {
    start = hit;
    rect = null;
    lines.setPointerCapture(event.pointerId);
  }
  show();
});
lines.addEventListener("pointermove", event => {
  if (!start) return;
  const [map, from] = start, to = toFrame(maps[map], event.clientX, event.clientY).map(limit);
  const low = from.map((v, i) => Math.min(v, to[i])), high = from.map((v, i) => Math.max(v, to[i]));
  rect = low.every((v, i) => high[i] - v > 1e-3) ? [low, high] : null;
  show();
});
for (const end of ["pointerup", "pointercancel"]) lines.addEventListener(end, () => { start = null; });
for (const id of ["kind", "shape", "name"]) part(id).addEventListener("input", show);
part("clear").addEventListener("click", () => { rect = null; polygon = []; show(); });
part("copy").addEventListener("click", async () => {
  // Without HTTPS, beyond this machine, there is no clipboard: the text is selected instead.
  try {
    await navigator.clipboard.writeText(part("toml").textContent);
    part("advice").textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(part("toml"));
    part("advice").textContent = "The text is selected: copy it with the keyboard.";
  }
});
part("draw").addEventListener("toggle", locate);
addEventListener("resize", show);
