// Charts: lines over time with units, a crosshair that all charts of a group share, and zoom by dragging.
//
// `group` holds the range of time and the place of the crosshair. A chart has series of {label, cls, of, low, high, mark}: `of`
// gives a point's value, `low` and `high` a band around it, `mark` makes a stripe of each value above 0. The arrow keys move the
// crosshair, + and - zoom, and a readout below has the values as text. A button saves the chart as `group.device`-history-`file`.

import { el, once, svg } from "./dom.js";
import { DASH, clockTime, moment, short, steps } from "./format.js";
import { saveButton } from "./save.js";

const HEIGHT = 140, LEFT = 44, RIGHT = 8, TOP = 8, BOTTOM = 20;
// A gap of more steps than this between two points is one in the line.
const GAP_STEPS = 10;

export function chartGroup(device, zoom) {
  const group = { device, from: 0, to: 1, step: 0, at: null, charts: [], zoom };
  group.x = (t, width) => LEFT + (width - LEFT - RIGHT) * (t - group.from) / Math.max(1, group.to - group.from);
  group.time = (x, width) => group.from + (x - LEFT) / Math.max(1, width - LEFT - RIGHT) * (group.to - group.from);
  group.point = t => { group.at = t; group.charts.forEach(c => c.cross()); };
  return group;
}

export const nearest = (points, t) => {
  if (!points.length || t === null) return null;
  let [low, high] = [0, points.length - 1];
  while (low < high) { const mid = (low + high) >> 1; if (points[mid].t < t) low = mid + 1; else high = mid; }
  return low && t - points[low - 1].t < points[low].t - t ? points[low - 1] : points[low];
};

export function chart(group, name, title, unit, series, options = {}) {
  const picture = svg("svg", { class: "chart", id: name, height: HEIGHT, role: "img", tabindex: "0", "aria-describedby": `${name}-readout` });
  const readout = el("p", { class: "readout", id: `${name}-readout` });
  const legend = el("p", { class: "legend" }, ...series.map(s => el("span", {}, el("i", { class: s.cls, "aria-hidden": "true" }), s.label)));
  const caption = el("figcaption");
  const cross = svg("path", { class: "cross" }), drag = svg("rect", { class: "drag", y: TOP, height: HEIGHT - TOP - BOTTOM, width: 0 });
  const save = saveButton(group.device, `history-${options.file}`, title, () => picture, { when: () => group.to, legend, title: () => caption.textContent });
  const node = el("figure", { class: "chart-box" }, caption, save, picture, legend, readout);
  let points = [], width = 600, top = 1;
  const y = v => TOP + (HEIGHT - TOP - BOTTOM) * (1 - Math.min(v, top) / top);
  const known = v => v !== null && v !== undefined && Number.isFinite(v);

  function line(of) {
    let d = "", last = null;
    for (const p of points) {
      const v = of(p);
      if (!known(v)) { last = null; continue; }
      const joined = last !== null && p.t - last <= GAP_STEPS * Math.max(group.step, 1);
      d += `${joined ? "L" : "M"}${group.x(p.t, width).toFixed(1)} ${y(v).toFixed(1)}`;
      if (!joined) d += "h.01";
      last = p.t;
    }
    return d;
  }

  function band(low, high) {
    const shown = points.filter(p => known(high(p)));
    if (!shown.length) return "";
    const up = shown.map(p => `${group.x(p.t, width).toFixed(1)} ${y(high(p)).toFixed(1)}`);
    const down = shown.map(p => `${group.x(p.t, width).toFixed(1)} ${y(low(p)).toFixed(1)}`).reverse();
    return `M${up.join("L")}L${down.join("L")}Z`;
  }

  function draw() {
    width = picture.clientWidth || 600;
    const values = series.filter(s => !s.mark).flatMap(s => points.flatMap(p => [s.of(p), options.clip ? null : s.high?.(p)])).filter(known).sort((a, b) => a - b);
    // Rare peaks do not press the rest to the ground; what is above is drawn at the top.
    top = options.clip ? 1.5 * (values[Math.floor(.98 * values.length)] ?? 1) : values.at(-1) ?? 1;
    top = Math.max(options.least ?? 0, top) || 1;
    const marks = steps(top);
    if (marks.at(-1) < top * .999) top = Math.max(top, marks.at(-1) + (marks[1] - marks[0]) * .4);
    const parts = marks.map(v => svg("g", {}, svg("path", { class: "rule", d: `M${LEFT} ${y(v)}H${width - RIGHT}` }), svg("text", { x: LEFT - 6, y: y(v) + 4, "text-anchor": "end" }, short(v))));
    const span = group.to - group.from, label = span > 40 * 3600e3 ? t => moment(t).slice(5, 16) : span > 300e3 ? t => clockTime(t).slice(0, 5) : clockTime;
    const times = width < 420 ? [0, 1] : [0, .5, 1];
    parts.push(...times.map(f => svg("text", { x: LEFT + f * (width - LEFT - RIGHT), y: HEIGHT - 5, "text-anchor": f === 0 ? "start" : f === 1 ? "end" : "middle" }, label(group.from + f * span))));
    for (const s of series) {
      if (s.mark) {
        const d = points.filter(p => s.of(p) > 0).map(p => `M${group.x(p.t, width).toFixed(1)} ${TOP}V${HEIGHT - BOTTOM}`).join("");
        parts.push(svg("path", { class: `mark ${s.cls}`, d, "stroke-width": Math.max(2, (width - LEFT - RIGHT) / Math.max(1, points.length)) }));
      } else {
        if (s.high) parts.push(svg("path", { class: `band ${s.cls}`, d: band(s.low, s.high) }));
        parts.push(svg("path", { class: `line ${s.cls}`, d: line(s.of) }));
      }
    }
    picture.replaceChildren(...parts, drag, cross);
    picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    showCross();
  }

  function showCross() {
    const at = nearest(points, group.at) ?? points.at(-1);
    cross.setAttribute("d", group.at === null || !at ? "" : `M${group.x(at.t, width).toFixed(1)} ${TOP}V${HEIGHT - BOTTOM}`);
    const values = at ? series.map(s => `${s.label} ${short(s.of(at))}${known(s.of(at)) && s.high && s.high(at) !== s.low(at) ? ` (${short(s.low(at))} to ${short(s.high(at))})` : ""}`) : [DASH];
    const text = at ? `${group.at === null ? "last" : moment(at.t)}: ${values.join(", ")}${unit ? " " + unit : ""}` : "no reports in this range";
    if (readout.textContent !== text) readout.textContent = text;
    picture.setAttribute("aria-label", `${title}. ${text}`);
  }

  const place = event => { const box = picture.getBoundingClientRect(); return (event.clientX - box.left) * width / Math.max(1, box.width); };
  let from = null;
  picture.addEventListener("pointermove", e => {
    group.point(group.time(place(e), width));
    if (from === null) return;
    const to = place(e);
    drag.setAttribute("x", Math.min(from, to));
    drag.setAttribute("width", Math.abs(to - from));
  });
  picture.addEventListener("pointerdown", e => { if (e.pointerType !== "touch") { from = place(e); picture.setPointerCapture(e.pointerId); } });
  picture.addEventListener("pointerup", e => {
    const to = place(e), start = from;
    from = null;
    drag.setAttribute("width", 0);
    if (start !== null && Math.abs(to - start) > 8) group.zoom(group.time(Math.min(start, to), width), group.time(Math.max(start, to), width));
  });
  picture.addEventListener("pointerleave", () => { if (from === null) group.point(null); });
  picture.addEventListener("keydown", e => {
    const now = nearest(points, group.at) ?? points.at(-1), i = points.indexOf(now), span = group.to - group.from, middle = now?.t ?? group.from + span / 2;
    if (e.key === "ArrowLeft" && i > 0) group.point(points[i - 1].t);
    else if (e.key === "ArrowRight" && i >= 0 && i < points.length - 1) group.point(points[i + 1].t);
    else if (e.key === "Escape") group.point(null);
    else if (e.key === "+") group.zoom(middle - span / 4, middle + span / 4);
    else if (e.key === "-") group.zoom(group.from - span / 2, group.to + span / 2);
    else return;
    e.preventDefault();
  });

  function setUnit(next) {
    if (next === unit && caption.textContent) return;
    unit = next;
    caption.textContent = unit ? `${title} (${unit})` : title;
  }

  setUnit(unit);
  const redraw = once(draw);
  group.charts.push({ cross: showCross, redraw });
  return { node, setUnit, show(now) { points = now; redraw(); } };
}
