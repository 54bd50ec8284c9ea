// Regions and masks: outlines with their names over a picture, and what each region shows of each named colour.
//
// Outlines come from the configuration in force, which the device's status has; shares come from its reports. Corners are
// fractions of the picture, so an outline fits the picture at any size.

import { el, svg } from "./dom.js";
import { percent } from "./format.js";

const tablesOf = (status, key) => {
  const value = status?.config?.[key]?.value;
  return Array.isArray(value) ? value : [];
};

// The corners of a table: of its polygon, or of its rectangle.
export function cornersOf({ polygon, rect }) {
  if (Array.isArray(polygon)) return polygon;
  if (!Array.isArray(rect)) return [];
  const [x, y, width, height] = rect;
  return [[x, y], [x + width, y], [x + width, y + height], [x, y + height]];
}

const points = corners => corners.map(([x, y]) => `${x},${y}`).join(" ");

// A picture's overlay. `draft` is what a person draws at the moment.
export function overlay() {
  const lines = svg("svg", { class: "outlines", viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" });
  const names = el("div", { class: "outline-names", "aria-hidden": "true" });
  const draft = svg("g", {});
  // A dark line below a light one is seen on every picture.
  const outline = (cls, corners) => svg("g", { class: cls }, ...["halo", "line-on"].map(part => svg("polygon", { class: part, points: points(corners), "vector-effect": "non-scaling-stroke" })));
  return {
    nodes: [lines, names], lines,
    show(status) {
      const regions = tablesOf(status, "region").map(t => [t.name ?? "", cornersOf(t)]), masks = tablesOf(status, "mask").map(cornersOf);
      lines.replaceChildren(...masks.map(c => outline("mask", c)), ...regions.map(([, c]) => outline("region", c)), draft);
      names.replaceChildren(...regions.filter(([, c]) => c.length).map(([name, corners]) => el("span", { text: name, style: { left: `${100 * Math.min(...corners.map(c => c[0]))}%`, top: `${100 * Math.min(...corners.map(c => c[1]))}%` } })));
    },
    sketch(corners) {
      draft.replaceChildren(...(corners.length > 1 ? [outline("draft", corners)] : []));
      if (!draft.parentNode) lines.append(draft);
    },
  };
}

// The shares of named colours in regions, as a table.
export function sharesPart() {
  const table = el("table", { id: "shares" }), box = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Named colours by region", hidden: true }, table);
  let names = null;
  return {
    nodes: [box],
    setStatus(status) { if (Array.isArray(status?.regions)) names = { regions: status.regions, colours: status.colours ?? [] }; },
    show(report) {
      const { regions, named } = report;
      box.hidden = !names || !regions?.region?.length;
      if (box.hidden) return;
      const share = (r, c) => {
        const i = named.region.findIndex((region, i) => region === r && named.colour[i] === c), all = regions.pixels[regions.region.indexOf(r)];
        return i < 0 || !all ? 0 : named.pixels[i] / all;
      };
      const row = r => el("tr", {}, el("th", { scope: "row", text: names.regions[r] ?? String(r) }), ...names.colours.map((_, c) => el("td", { text: percent(share(r, c)) })));
      table.replaceChildren(el("thead", {}, el("tr", {}, ...["region", ...names.colours].map(t => el("th", { scope: "col", text: t })))), el("tbody", {}, ...regions.region.map(row)));
    },
  };
}
