// The banner: shows that the server, the journal, the store, the broker or the bridge is away, what that means, and what to do.

import { byId, el } from "./dom.js";

const MEANING = {
  page: ["The page has lost its server", "What you see is from before. It goes on by itself as soon as hueflow-metrics answers again."],
  journal: ["The journal cannot be read", "New records wait in the journal and on the devices; none is lost. Check that Kafka runs (deploy/kafka/start), or the file of local:."],
  store: ["The store cannot be written", "New records wait in the journal. Free disk space, or check the database."],
  broker: ["The MQTT broker cannot be reached", "Devices keep their records on disk until it is back. Commands cannot be sent. Check that mosquitto runs."],
  bridge: ["The bridge relays nothing", "Devices keep their records on disk until it does again. Check that hueflow-bridge runs, and that its journal has room."],
};

let health = {}, away = false;

function show() {
  const wrong = away ? [["page", null]] : Object.entries(health).filter(([what, error]) => MEANING[what] && error);
  const key = JSON.stringify(wrong), banner = byId("banner");
  if (banner.dataset.key === key) return;
  banner.dataset.key = key;
  banner.hidden = wrong.length === 0;
  banner.replaceChildren(...wrong.map(([what, error]) => el("p", { "data-part": what },
    el("strong", { text: MEANING[what][0] + ". " }), MEANING[what][1], error && el("code", { text: error }))));
}

export function showHealth(now) { health = now ?? {}; away = false; show(); }

// A restart of the server takes a second or two: the banner waits a little, the word beside the name does not.
let timer = 0;
export function showAway(isAway) {
  clearTimeout(timer);
  if (!isAway) { away = false; show(); return; }
  timer = setTimeout(() => { away = true; show(); }, 1500);
}
