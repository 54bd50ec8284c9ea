// Charts as PNG files, made in the browser from what the page shows.
//
// A file has the chart's own size in the screen's pixels, a line with its title above, and its legend below. Colours and type are
// those of the theme at that moment. The name has device, chart and time.

import { el } from "./dom.js";
import { stamp } from "./format.js";

// What the page's style gives the parts of a chart. A file has no style sheet, so its parts carry these themselves.
const STYLED = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "opacity", "font-family", "font-size", "font-weight"];
const TITLE_PX = 26, LEGEND_PX = 22, EDGE_PX = 8, KEY_PX = 12;
const TYPE = "13px system-ui, sans-serif";

export const fileName = (device, chart, ms) => `${`${device}-${chart}`.replace(/[^A-Za-z0-9._-]+/g, "-")}-${stamp(ms)}.png`;

// An SVG element of the page as a picture that needs nothing of the page.
function standalone(picture, width, height) {
  const copy = picture.cloneNode(true), copies = copy.querySelectorAll("*");
  picture.querySelectorAll("*").forEach((part, i) => {
    const style = getComputedStyle(part);
    for (const name of STYLED) copies[i].setAttribute(name, style.getPropertyValue(name));
  });
  copy.querySelectorAll(".drag").forEach(part => part.remove());
  for (const [name, value] of [["xmlns", "http://www.w3.org/2000/svg"], ["width", width], ["height", height]]) copy.setAttribute(name, value);
  return new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" });
}

async function loaded(blob) {
  const url = URL.createObjectURL(blob), picture = new Image();
  try {
    picture.src = url;
    await picture.decode();
    return picture;
  } finally { URL.revokeObjectURL(url); }
}

// The legend's keys: their labels, colours and widths on the file.
function keysOf(legend, pen) {
  return [...legend?.children ?? []].map(key => ({
    label: key.textContent, colour: getComputedStyle(key.querySelector("i")).backgroundColor, width: KEY_PX + 20 + pen.measureText(key.textContent).width,
  }));
}

// The PNG of a chart: `picture` is an SVG, canvas or image element that is shown.
export async function pngOf(picture, title, legend) {
  const { width, height } = picture.getBoundingClientRect(), ratio = devicePixelRatio || 1;
  const source = picture instanceof SVGElement ? await loaded(standalone(picture, width, height)) : picture;
  const canvas = el("canvas"), pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  pen.font = TYPE;
  const keys = keysOf(legend, pen), rows = [[]];
  let used = 0;
  for (const key of keys) {
    if (used + key.width > width - EDGE_PX && rows.at(-1).length) { rows.push([]); used = 0; }
    rows.at(-1).push(key);
    used += key.width;
  }
  const below = keys.length ? rows.length * LEGEND_PX : 0;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round((TITLE_PX + height + below) * ratio);
  pen.scale(ratio, ratio);
  pen.fillStyle = style.getPropertyValue("--card");
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(source, 0, TITLE_PX, width, height);
  [pen.font, pen.textBaseline, pen.fillStyle] = [TYPE, "middle", style.getPropertyValue("--ink")];
  pen.fillText(title, EDGE_PX, TITLE_PX / 2, width - 2 * EDGE_PX);
  rows.forEach((row, i) => {
    let x = EDGE_PX;
    const y = TITLE_PX + height + (i + .5) * LEGEND_PX;
    for (const key of row) {
      pen.fillStyle = key.colour;
      pen.fillRect(x, y - 2, KEY_PX, 4);
      pen.fillStyle = style.getPropertyValue("--ink");
      pen.fillText(key.label, x + KEY_PX + 6, y);
      x += key.width;
    }
  });
  const png = await new Promise(done => canvas.toBlob(done, "image/png"));
  if (!png) throw new Error("the browser made no PNG");
  return png;
}

// A button that saves the chart called `label`. `picture`, `title` and `when` are evaluated at that moment: the element, its title
// in the file, and the time at its end.
export function saveButton(device, chart, label, picture, { title = () => label, when = Date.now, legend } = {}) {
  const button = el("button", { type: "button", class: "save", "data-chart": chart, "aria-label": `Save PNG: ${label}`, text: "Save PNG", on: { click: save } });
  async function save() {
    button.disabled = true;
    try {
      const url = URL.createObjectURL(await pngOf(picture(), `${device}: ${title()}`, legend));
      el("a", { href: url, download: fileName(device, chart, when()) }).click();
      // The download has begun by then.
      setTimeout(() => URL.revokeObjectURL(url), 60e3);
      button.textContent = "Save PNG";
    } catch {
      button.textContent = "Not saved: try again";
    } finally {
      button.disabled = false;
      // A disabled button loses the focus. It stays where a person has moved it meanwhile.
      if (document.activeElement === document.body) button.focus();
    }
  }
  return button;
}
