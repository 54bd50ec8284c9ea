// What if lambda were another: a slider, and at once the palette and the knife that the last census then has.
//
// The server clusters the census again with the device's own code. The silhouette is an estimate while the slider moves, and
// exact after it rests. Curves show K, RMS and silhouette over lambda. A newer question cancels the one before.

import { el, settled, svg } from "./dom.js";
import { deviceUrl, explain, getJson, isAbort } from "./api.js";
import { count, fixed, percent, short, unitOf } from "./format.js";
import { palettePart, swatchesOf } from "./palette.js";
import { commandPart } from "./command.js";
import { saveButton } from "./save.js";

// The slider is logarithmic, in 200 steps: from 5 to 250 levels, and in CIELAB from 2 to 100 Delta E.
const LEAST = { levels: 5, "Delta E": 2 }, RATIO = 50, STEPS = 200;
const lambdaOf = (step, unit) => { const l = LEAST[unit] * RATIO ** (step / STEPS); return l < 30 ? Math.round(l * 2) / 2 : Math.round(l); };
const stepOf = (lambda, unit) => Math.round(STEPS * Math.min(1, Math.max(0, Math.log(lambda / LEAST[unit]) / Math.log(RATIO))));
const EXACT_AFTER_MS = 400;
// A curve over lambda, in its own units.
const WIDTH = 300, HEIGHT = 92;
// Key, label, style, digits, and the name of its file.
const CURVES = [["clusters", "colours (K)", "c-k", 0, "colours"], ["rms", "RMS", "c-rms", 1, "rms"], ["silhouette_estimate", "silhouette (estimate)", "c-label", 2, "silhouette"]];

export function whatIfPart(device, signal) {
  const slider = el("input", { type: "range", id: "lambda-slider", min: 0, max: STEPS, step: 1, on: { input: move } });
  const number = el("input", { type: "number", id: "lambda-number", min: .02, max: 442, step: "any", value: 50, "aria-label": "Lambda", on: { change: type } });
  const note = el("p", { class: "note", id: "whatif-note", role: "status", text: "Waiting for a census." });
  const figures = el("dl", { class: "figures", id: "whatif-figures" }), palette = palettePart("whatif");
  const knife = el("img", { class: "knife", id: "whatif-knife", alt: "", hidden: true });
  const saveKnife = saveButton(device, "what-if-silhouette", "silhouette diagram for this lambda", () => knife, { title: () => `silhouette for lambda ${note.dataset.lambda}` });
  const tools = el("div", { class: "tools", hidden: true }, saveKnife), pictures = CURVES.map(() => svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" }));
  const captions = CURVES.map(() => el("figcaption"));
  const curves = el("div", { class: "curves", hidden: true }, ...CURVES.map(([, label, , , file], i) => el("figure", { class: "chart-box" }, captions[i],
    saveButton(device, `lambda-${file}`, `${label} over lambda`, () => pictures[i], { title: () => captions[i].textContent }), pictures[i])));
  const command = commandPart(device, signal, () => lambda), label = el("label", { for: "lambda-slider" });
  let lambda = 50, unit = "levels", started = false, question = null, url = null, curveFrame = null;
  setUnit(unit);

  const exactly = settled(EXACT_AFTER_MS, () => ask(1));
  function move() { lambda = lambdaOf(Number(slider.value), unit); number.value = lambda; change(); }
  function type() {
    const wanted = Number(number.value);
    if (!(wanted > 0 && wanted <= 442)) { note.textContent = "Lambda is a number from 0.02 to 442."; return; }
    lambda = wanted;
    slider.value = stepOf(lambda, unit);
    change();
  }
  function change() {
    slider.setAttribute("aria-valuetext", `lambda ${lambda} ${unit}`);
    exactly.cancel();
    ask(0, exactly);
  }

  // The exact answer is asked for after the estimate is shown: a question cancels the one before it.
  async function ask(exact, then) {
    question?.abort();
    const mine = question = new AbortController(), stop = () => mine.abort();
    signal.addEventListener("abort", stop, { once: true });
    const dark = matchMedia("(prefers-color-scheme: dark)").matches ? 1 : 0;
    try {
      const answer = await getJson(deviceUrl(device, `what-if?lambda=${lambda}&exact=${exact}&dark=${dark}`), mine.signal);
      show(answer);
      knife.dataset.dark = dark;
      then?.();
      if (curveFrame === null) loadCurve();
    } catch (error) {
      if (!isAbort(error)) note.textContent = error.status === 404 ? `Nothing to try with yet: ${explain(error)}.` : `Not possible: ${explain(error)}.`;
    } finally { signal.removeEventListener("abort", stop); }
  }

  function setUnit(next) {
    unit = next;
    label.textContent = `Lambda in ${unit}: the largest distance of a colour to its palette entry`;
    CURVES.forEach(([key, label], i) => { captions[i].textContent = `${label}${key === "rms" ? ` (${unit})` : ""} over lambda (${unit})`; });
    slider.value = stepOf(lambda, unit);
  }

  function show(a) {
    if (unitOf(a.space) !== unit) setUnit(unitOf(a.space));
    const s = a.silhouette, score = s ? `${fixed(s.score, 3)}${s.is_exact ? "" : ` ± ${fixed(s.error_bound, 3)}`}` : "–";
    const rows = [["colours (K)", count(a.clusters)], [`RMS (${unit})`, fixed(a.rms)], ["silhouette", score], ["colours missed", count(a.missed)], ["beyond lambda", percent(a.beyond_px / (a.pixels || 1))]];
    figures.replaceChildren(...rows.map(([label, value]) => el("div", {}, el("dt", { text: label }), el("dd", { text: value }))));
    palette.show(swatchesOf(a.palette));
    const how = !s ? a.no_silhouette : s.is_exact ? "exact" : `estimated from ${count(s.sampled_pixels)} pixels, 95 % bound`;
    note.textContent = `Lambda ${short(a.lambda)} on frame ${count(a.frame)} (there ${short(a.lambda_in_force)} was in force), clustered from cold. Silhouette: ${how}.${a.thinned > 1 ? ` One pixel in ${a.thinned} of each colour.` : ""}`;
    note.dataset.lambda = a.lambda;
    note.dataset.exact = s ? s.is_exact : "";
    knife.hidden = tools.hidden = !a.knife;
    if (!a.knife) return;
    if (url) URL.revokeObjectURL(url);
    url = URL.createObjectURL(new Blob([a.knife], { type: "image/svg+xml" }));
    knife.src = url;
    knife.alt = `Silhouette diagram for lambda ${a.lambda}: ${a.clusters} knives, mean ${score}`;
    mark();
  }

  let points = [];
  async function loadCurve() {
    curveFrame = -1;
    try {
      const found = await getJson(deviceUrl(device, "what-if/curve"), signal);
      [curveFrame, points] = [found.frame, found.points];
      mark();
    } catch { curveFrame = null; }
  }

  // A small curve of each number over lambda, with a line at the chosen one.
  function mark() {
    if (!points.length) return;
    curves.hidden = false;
    const [width, height] = [WIDTH, HEIGHT], x = l => 34 + (width - 44) * Math.log(l / points[0].lambda) / Math.log(points.at(-1).lambda / points[0].lambda);
    CURVES.forEach(([key, label, cls, digits], i) => {
      const known = points.filter(p => p[key] !== null), top = Math.max(...known.map(p => p[key]), 1e-9), low = Math.min(0, ...known.map(p => p[key]));
      const y = v => 6 + (height - 26) * (1 - (v - low) / (top - low)), d = "M" + known.map(p => `${x(p.lambda).toFixed(1)} ${y(p[key]).toFixed(1)}`).join("L");
      const at = Math.min(Math.max(lambda, points[0].lambda), points.at(-1).lambda);
      pictures[i].setAttribute("aria-label", `${label} over lambda: ` + known.map(p => `${short(p.lambda)}: ${fixed(p[key], digits)}`).join(", "));
      pictures[i].replaceChildren(
        svg("path", { class: "rule", d: `M34 ${y(low)}H${width - 10}M34 ${y(top)}H${width - 10}` }),
        svg("text", { x: 30, y: y(top) + 4, "text-anchor": "end" }, fixed(top, digits)), svg("text", { x: 30, y: y(low) + 4, "text-anchor": "end" }, fixed(low, digits)),
        ...[points[0], points[Math.floor(points.length / 2)], points.at(-1)].map(p => svg("text", { x: x(p.lambda), y: height - 3, "text-anchor": "middle" }, short(p.lambda))),
        svg("path", { class: `line ${cls}`, d }), svg("path", { class: "cross", d: `M${x(at).toFixed(1)} 6V${height - 20}` }));
    });
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (started) ask(0); }, { signal });
  return {
    nodes: [el("div", { class: "slider" }, label, slider, number), figures, ...palette.nodes, el("div", { class: "tools" }, ...command.nodes), note, tools, knife, curves],
    setCommands: command.setCommands,
    // Begins where the device is, once.
    start(inForce, space) {
      if (started) return;
      started = true;
      lambda = inForce;
      number.value = +inForce.toPrecision(6);
      setUnit(unitOf(space));
      ask(0);
    },
    census() { if (knife.hidden) ask(0); },
  };
}
