// This frame: the numbers of the last report, each with its unit, and the settings in force.

import { el } from "./dom.js";
import { DASH, count, duration, fixed, percent, plural, short, unitOf } from "./format.js";

const FIGURES = [
  ["clusters", "colours (K)", "the number of clusters; + if the cap was reached"],
  ["missed", "colours missed", null],
  ["beyond", "of the pixels beyond lambda", null],
  ["lambda", "lambda in force", "the largest distance of a colour to its palette entry"],
  ["rms", "RMS distance", "root of the mean squared distance of a pixel to its palette entry"],
  ["de00", "mean Delta E 2000", "mean colour difference of a pixel to its palette entry, estimated from the coreset"],
  ["reference", "reference drift (Delta E 2000)", "mean colour difference of the reference patches to their true colours, after the correction"],
  ["silhouette", "silhouette (estimate)", "from the coreset; the exact one is below"],
  ["fps", "frames/s", "by the capture times of the last 60 frames"],
  ["total", "ms a frame", "coreset, clustering and labels at the edge"],
  ["iterations", "iterations", "of DC-DP-means; 0 if a warm frame did not need it"],
  ["lag", "lag to the store", "from the capture to the store"],
];

export function framePart() {
  const figures = Object.fromEntries(FIGURES.map(([key, label, title]) => {
    const value = el("dd", { id: key, text: DASH });
    const name = el("dt", { text: label });
    return [key, { value, label, name, node: el("div", { title, "data-figure": key }, name, value) }];
  }));
  const settings = el("p", { class: "note", id: "settings" });
  const put = (key, text, title, wrong = false) => {
    const { value, node } = figures[key];
    if (value.textContent !== text) value.textContent = text;
    if (title) node.title = title;
    node.classList.toggle("wrong", wrong);
  };
  const putUnit = (key, unit) => {
    const { label, name } = figures[key], text = `${label} (${unit})`;
    if (name.textContent !== text) name.textContent = text;
  };
  // A number that most devices never have is not shown there at all.
  const putIfKnown = (key, x) => {
    figures[key].node.hidden = x === null || x === undefined;
    put(key, fixed(x, 2));
  };

  function show(r, lagMs, fps) {
    put("clusters", r.clusters + (r.saturated ? "+" : ""));
    put("lambda", short(r.lambda));
    put("rms", fixed(r.rms));
    ["lambda", "rms"].forEach(key => putUnit(key, unitOf(r.space)));
    putIfKnown("de00", r.de00_mean);
    putIfKnown("reference", r.reference_de00);
    put("silhouette", fixed(r.silhouette_estimate, 3));
    put("fps", fixed(fps));
    put("total", fixed(r.micros.total / 1000));
    put("iterations", count(r.iterations));
    put("lag", duration(lagMs));
    // Edges before version 3 of the report do not count these: unknown is not 0.
    if (r.missed === null || r.beyond_px === null || r.missed === undefined || r.beyond_px === undefined) {
      ["missed", "beyond"].forEach(key => put(key, DASH, "not counted by this edge's version"));
    } else {
      put("missed", count(r.missed), `colours of at least ${plural(r.w_open, "pixel")} that no palette entry is within lambda of`, r.missed > 0);
      put("beyond", percent(r.beyond_px / (r.pixels || 1)), `${count(r.beyond_px)} of ${count(r.pixels)} pixels are farther than lambda from their palette entry`);
    }
    const text = `Lambda ${short(r.lambda)} ${unitOf(r.space)}, coreset of ${count(r.coreset_points)} points by ${r.method}, refinement ${r.refine}, a colour needs ${plural(r.w_open, "pixel")}. Frame ${count(r.frame)} of ${r.width} × ${r.height} pixels, ${r.warm ? "warm" : "cold"} start.`;
    if (settings.textContent !== text) settings.textContent = text;
  }
  return { nodes: [el("dl", { class: "figures" }, ...Object.values(figures).map(f => f.node)), settings], show };
}
