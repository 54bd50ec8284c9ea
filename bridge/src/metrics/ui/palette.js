// The palette: a bar in proportion to the shares, and a list with id, colour and share of each cluster.

import { el } from "./dom.js";
import { count, hexOf, percent } from "./format.js";

// The clusters of a report, the largest first.
export function swatchesOf({ id, rgb_q6, pixels }) {
  const all = pixels.reduce((n, p) => n + p, 0) || 1;
  const swatches = id.map((id, i) => ({ id, label: i, hex: hexOf(rgb_q6[i]), pixels: pixels[i], share: pixels[i] / all }));
  return swatches.sort((a, b) => b.pixels - a.pixels);
}

export function palettePart(name) {
  const bar = el("div", { class: "bar", id: `${name}-bar`, role: "img", "aria-label": "no palette yet" }), list = el("ul", { class: "swatches", id: `${name}-swatches`, tabindex: "0", "aria-label": "Palette" });
  function show(swatches) {
    bar.setAttribute("aria-label", `${swatches.length} colours: ` + swatches.slice(0, 5).map(s => `${s.hex} ${percent(s.share)}`).join(", "));
    bar.replaceChildren(...swatches.map(s => el("i", { style: { background: s.hex, flex: `${s.pixels} 0 0` }, title: `${s.hex}, ${percent(s.share)}, id ${s.id}` })));
    list.replaceChildren(...swatches.map(s => el("li", { title: `${count(s.pixels)} pixels` },
      el("i", { style: { background: s.hex }, "aria-hidden": "true" }), el("code", { text: s.hex }), el("b", { text: percent(s.share) }), el("span", { text: `id ${s.id}` }))));
  }
  return { nodes: [bar, list], show };
}
