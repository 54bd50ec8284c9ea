// The ledger: what became of every record of a device, for each of its boots, and the sums of the fleet.

import { el } from "./dom.js";
import { DASH, count, moment, plural } from "./format.js";

const COLUMNS = [
  ["boot", "boot"], ["started_at_ms", "started"], ["produced", "produced"], ["stored", "stored"], ["declared_lost", "declared lost"], ["missing", "missing"],
  ["dead", "dead"], ["duplicates", "duplicates dropped"], ["frames_seen", "frames seen"], ["frames_dropped", "frames dropped"],
];
// Boots that are shown at first, the youngest.
const BOOTS_SHOWN = 8;

function verdict(l) {
  if (l.declared_lost || l.dead) return ["lost", `${count(l.declared_lost + l.dead)} lost or dead`];
  if (l.missing) return ["open", `${count(l.missing)} on the way`];
  return ["whole", "complete"];
}

// A cell's text. A start is not known of boots that an earlier version of the store counted.
function textOf(l, key, boot) {
  if (key === "boot") return boot.slice(0, 8) + "…";
  if (key === "started_at_ms") return l[key] ? moment(l[key]) : DASH;
  return count(l[key]);
}

export function ledgerSums(l) {
  const [kind, text] = verdict(l);
  return el("span", { class: "verdict", "data-kind": kind },
    `Ledger: ${plural(l.produced, "record")} produced, ${count(l.stored)} stored, `, el("strong", { text }), `, over ${plural(l.boots, "boot")}`);
}

export function ledgerPart() {
  const box = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Ledger of this device" });
  const note = el("p", { class: "note" });
  let all = false;
  function show(lines) {
    if (!lines.length) {
      box.replaceChildren(el("p", { class: "nothing", text: "No record of this device is counted yet." }));
      note.textContent = "";
      return;
    }
    const young = [...lines].reverse(), shown = all ? young : young.slice(0, BOOTS_SHOWN);
    const head = el("tr", {}, el("th", { scope: "col", text: "verdict" }), ...COLUMNS.map(([, title]) => el("th", { scope: "col", text: title })));
    const rows = shown.map(l => {
      const [kind, text] = verdict(l);
      const boot = BigInt(l.boot).toString(16).padStart(16, "0");
      return el("tr", {}, el("th", { scope: "row" }, el("span", { class: "verdict", "data-kind": kind, text })),
        ...COLUMNS.map(([key]) => el("td", { "data-key": key, text: textOf(l, key, boot), title: key === "boot" ? `boot ${boot}` : null })));
    });
    box.replaceChildren(el("table", {}, el("thead", {}, head), el("tbody", { id: "ledger" }, ...rows)));
    note.replaceChildren("Every record counts exactly once: produced = stored + declared lost + dead + missing. Missing records are on the way, or wait on the device. ");
    if (young.length > shown.length) note.append(el("button", { type: "button", text: `Show all ${young.length} boots`, on: { click: () => { all = true; show(lines); } } }));
  }
  return { nodes: [box, note], show };
}
