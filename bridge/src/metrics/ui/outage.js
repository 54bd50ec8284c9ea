// Outages of the demo: two buttons that take the broker or the journal away, and what becomes of the records meanwhile.
//
// Only a server that was started for the demo offers them, as `hello` reports. The server decides when an outage is over; this
// part asks while one is under way.

import { byId, el } from "./dom.js";
import { explain, getJson, postJson } from "./api.js";
import { count } from "./format.js";

const ASK_MS = 500;
const PARTS = [["broker", "Unplug the broker"], ["journal", "Unplug the journal"]];

let session = "", timer = 0;
const buttons = PARTS.map(([part, text]) => el("button", { type: "button", "data-part": part, text, on: { click: () => begin(part) } }));
const outcome = el("p", { class: "outcome", role: "status", hidden: true });

function showPhase(phase, text) {
  outcome.hidden = false;
  outcome.dataset.phase = phase;
  outcome.dataset.kind = phase === "recovered" ? "done" : phase === "failed" ? "refused" : "waiting";
  if (outcome.textContent !== text) outcome.textContent = text;
}

function show(s) {
  const { produced, stored, declared_lost, dead, missing } = s.ledger;
  buttons.forEach(b => { b.disabled = s.phase === "away" || s.phase === "recovering"; });
  if (s.phase === "away") showPhase(s.phase, `The ${s.part} is away and comes back in ${Math.max(1, Math.ceil((s.until_ms - s.now_ms) / 1000))} s. Devices go on and keep what they record.`);
  else if (s.phase === "recovering") showPhase(s.phase, `The ${s.part} is back. Devices connect again and send what they kept${missing ? `: ${count(missing)} records are on the way` : ""}.`);
  else if (s.phase === "recovered") showPhase(s.phase, `✓ Recovered: all ${count(s.stored_after)} reports captured meanwhile are stored. Ledger now: ${count(produced)} produced = ${count(stored)} stored + ${count(declared_lost)} declared lost + ${count(dead)} dead + ${count(missing)} missing.`);
  return s.phase === "away" || s.phase === "recovering";
}

// Asks until the outage is over. The server itself stays; if it does not answer, the banner reports it.
async function ask() {
  clearTimeout(timer);
  let goesOn = true;
  try { goesOn = show(await getJson("/api/demo/outage")); } catch { /* It is asked again. */ }
  if (goesOn) timer = setTimeout(ask, ASK_MS);
}

async function begin(part) {
  buttons.forEach(b => { b.disabled = true; });
  try {
    show(await postJson("/api/demo/outage", { part }, session));
    ask();
  } catch (error) {
    showPhase("failed", `✗ Not done: ${explain(error)}.`);
    buttons.forEach(b => { b.disabled = false; });
  }
}

// Shows the part if the server offers outages.
export function offerOutages(hello) {
  const box = byId("outage");
  session = hello.session;
  box.hidden = !hello.outages;
  if (box.hidden) return clearTimeout(timer);
  if (!box.firstChild) box.append(el("h2", { text: "Pull the plug: 20 seconds without a service, and no record is lost" }), el("div", { class: "tools" }, ...buttons), outcome);
  ask();
}
