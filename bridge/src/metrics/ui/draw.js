// Drawing a region or a mask: with the pointer on the picture or by numbers, and the TOML of it to copy.
//
// Nothing is sent: the text goes into the edge's configuration by hand. A rectangle is dragged; each press adds a corner to a
// polygon. Numbers are fractions of the picture from 0 to 1, and every outline can be made with them alone.

import { el } from "./dom.js";
import { cornersOf } from "./regions.js";

// What the edge takes.
const CORNERS_MIN = 3, CORNERS_MAX = 32, NAME = "[a-z0-9\\-]{1,24}";

const limit = v => Math.min(1, Math.max(0, v)), short = v => String(+v.toFixed(4));

// `over` is the overlay of the picture that is drawn on.
export function drawPart(over) {
  let rect = [.25, .25, .5, .5], polygon = [], start = null;
  const select = (id, label, ...options) => {
    const node = el("select", { id, on: { change: show } }, ...options.map(o => el("option", { value: o, text: o })));
    return [el("label", { for: id, text: label }), node];
  };
  const [kindLabel, kind] = select("draw-kind", "draw a", "region", "mask"), [shapeLabel, shape] = select("draw-shape", "as a", "rectangle", "polygon");
  const name = el("input", { id: "draw-name", value: "region-1", pattern: NAME, size: 14, on: { input: show } }), nameLabel = el("label", { for: "draw-name", text: "called" });
  const fields = el("div", { class: "corners", id: "draw-fields" });
  const toml = el("pre", { id: "draw-toml", tabindex: "0", "aria-label": "TOML of the outline" }), word = el("p", { class: "note", id: "draw-word", role: "status" });
  const copy = el("button", { type: "button", id: "draw-copy", text: "Copy the TOML", on: { click: copyToml } });
  const clear = el("button", { type: "button", text: "Clear", on: { click: () => { polygon = []; rect = [.25, .25, .5, .5]; show(); } } });
  const add = el("button", { type: "button", id: "draw-add", text: "Add a corner", on: { click: () => { press([.5, .5]); fields.querySelector("li:last-child input")?.focus(); } } });
  const details = el("details", { id: "draw", class: "draw", on: { toggle: show } }, el("summary", { text: "Draw a region or a mask" }),
    el("div", { class: "tools" }, kindLabel, kind, nameLabel, name, shapeLabel, shape, add, clear),
    el("p", { class: "note", text: "On the clustered picture, drag a rectangle or press where the corners of a polygon are; or change the numbers, which are fractions of the picture." }),
    fields, toml, el("div", { class: "tools" }, copy), word);

  const isPolygon = () => shape.value === "polygon";
  const number = (label, value, then) => el("input", { type: "number", min: 0, max: 1, step: .01, value: short(value), "aria-label": label, on: { input: e => { const v = e.target.valueAsNumber; if (Number.isFinite(v)) { then(limit(v)); draw(); } } } });

  function press(corner) {
    if (polygon.length < CORNERS_MAX) polygon.push(corner);
    show();
  }

  function draw() {
    // Both edges are rounded, so that a rectangle that reaches the border does not pass it.
    const round = v => +v.toFixed(4), from = rect.slice(0, 2).map(round), size = [0, 1].map(i => round(rect[i] + rect[i + 2]) - from[i]);
    const text = v => `[${v.map(short).join(", ")}]`, title = kind.value === "region" ? `[[region]]\nname = "${name.value}"` : "[[mask]]";
    const isWhole = isPolygon() ? polygon.length >= CORNERS_MIN : rect[2] > 0 && rect[3] > 0, isNamed = kind.value === "mask" || name.validity.valid && name.value !== "";
    toml.textContent = `${title}\n${isPolygon() ? `polygon = [${polygon.map(text).join(", ")}]` : `rect = ${text([...from, ...size])}`}\n`;
    copy.disabled = !isWhole || !isNamed;
    word.textContent = !isNamed ? "A name has 1 to 24 of a-z, 0-9 and -." : !isWhole ? `A polygon has ${CORNERS_MIN} to ${CORNERS_MAX} corners.` : "Put it into the edge's configuration, and start the edge again.";
    over.sketch(!details.open ? [] : isPolygon() ? polygon : cornersOf({ rect }));
  }

  function show() {
    over.lines.classList.toggle("drawing", details.open);
    [name.hidden, nameLabel.hidden, add.hidden] = [kind.value === "mask", kind.value === "mask", !isPolygon()];
    if (isPolygon()) {
      const item = (corner, i) => el("li", {}, `${i + 1}: `, number(`corner ${i + 1}, x`, corner[0], v => { corner[0] = v; }), number(`corner ${i + 1}, y`, corner[1], v => { corner[1] = v; }), el("button", { type: "button", text: "Remove", "aria-label": `remove corner ${i + 1}`, on: { click: () => { polygon.splice(i, 1); show(); } } }));
      fields.replaceChildren(el("ol", {}, ...polygon.map(item)));
    } else {
      // A rectangle stays within the picture.
      const set = i => v => { rect[i] = i < 2 ? v : Math.min(v, 1 - rect[i - 2]); if (i < 2) rect[i + 2] = Math.min(rect[i + 2], 1 - v); };
      fields.replaceChildren(...["x", "y", "width", "height"].map((label, i) => el("label", {}, `${label} `, number(label, rect[i], set(i)))));
    }
    draw();
  }

  async function copyToml() {
    // Without HTTPS there is no clipboard: the text is selected instead.
    try {
      await navigator.clipboard.writeText(toml.textContent);
      word.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(toml);
      word.textContent = "The text is selected: copy it with the keyboard.";
    }
  }

  const place = event => {
    const box = over.lines.getBoundingClientRect();
    return [limit((event.clientX - box.left) / Math.max(1, box.width)), limit((event.clientY - box.top) / Math.max(1, box.height))];
  };
  over.lines.addEventListener("pointerdown", event => {
    if (!details.open) return;
    event.preventDefault();
    if (isPolygon()) return press(place(event));
    start = place(event);
    over.lines.setPointerCapture(event.pointerId);
  });
  over.lines.addEventListener("pointermove", event => {
    if (start === null) return;
    const to = place(event);
    rect = [Math.min(start[0], to[0]), Math.min(start[1], to[1]), Math.abs(to[0] - start[0]), Math.abs(to[1] - start[1])];
    show();
  });
  for (const end of ["pointerup", "pointercancel"]) over.lines.addEventListener(end, () => { start = null; });
  show();
  return { nodes: [details] };
}
