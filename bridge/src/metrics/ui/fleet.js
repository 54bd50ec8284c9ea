// The fleet: a card for each device, with search and sorting. Only cards in sight are drawn and load pictures.

import { el, once, settled } from "./dom.js";
import { getJson, deviceUrl, explain, isAbort } from "./api.js";
import { connect } from "./link.js";
import { showAway, showHealth } from "./banner.js";
import { DASH, count, duration, fixed, stateWord } from "./format.js";
import { ledgerSums } from "./ledger.js";
import { offerOutages } from "./outage.js";

// The order of a card's values, as the server writes them.
const FIELDS = ["device", "state", "picture", "clusters", "missed", "fps", "captured_at_ms", "latency_ms", "lambda", "stripe"];
const SORTS = {
  name: ["name", (a, b) => a.device.localeCompare(b.device, "en", { numeric: true })],
  state: ["state: interrupted first", (a, b) => rank(a) - rank(b)],
  missed: ["missed colours: most first", (a, b) => (b.missed ?? -1) - (a.missed ?? -1)],
  clusters: ["colours: most first", (a, b) => (b.clusters ?? -1) - (a.clusters ?? -1)],
  fps: ["frame rate: lowest first", (a, b) => (a.fps ?? 1e9) - (b.fps ?? 1e9)],
  lag: ["lag: longest first", (a, b) => (b.latency_ms ?? -1) - (a.latency_ms ?? -1)],
  age: ["last frame: oldest first", (a, b) => (a.captured_at_ms ?? 0) - (b.captured_at_ms ?? 0)],
};
const rank = c => ["offline", "unknown", "online"].indexOf(c.state);
// A picture of a card is loaded again after so long, at most so many at a time: a page of many cameras stays a light load.
const PICTURE_MS = 3000, LOADING_MAX = 4;
// Cards move at most so often when they are sorted by something that changes.
const SORT_MS = 5000;

export function fleetView(root, query, go) {
  const abort = new AbortController(), cards = new Map(), loading = new Set();
  let sort = SORTS[query.get("sort")] ? query.get("sort") : "name", wanted = query.get("q") ?? "", offset = 0, sortedAt = 0;

  const search = el("input", { type: "search", id: "search", value: wanted, placeholder: "name or state", autocomplete: "off" });
  const order = el("select", { id: "sort" }, ...Object.entries(SORTS).map(([key, [label]]) => el("option", { value: key, text: label, selected: key === sort })));
  const total = el("span", { id: "count", role: "status" }), sums = el("p", { class: "sums" });
  const list = el("ul", { class: "cards" }), nothing = el("div", { class: "nothing", hidden: true });
  root.append(el("h2", { class: "hidden-title", text: "Fleet" }),
    el("form", { class: "tools", role: "search", on: { submit: e => e.preventDefault() } },
      el("label", {}, "Search ", search), el("label", {}, "Sort by ", order), total), sums, nothing, list);

  const inSight = new IntersectionObserver(entries => {
    for (const e of entries) {
      const card = cards.get(e.target.dataset.device);
      if (card) { card.inSight = e.isIntersecting; if (e.isIntersecting) draw(card); }
    }
  }, { rootMargin: "200px" });

  function make(card) {
    const part = (cls, label) => { const value = el("dd", { class: cls }); return [el("div", {}, el("dt", { text: label }), value), value]; };
    const img = el("img", { alt: "", width: 80, height: 60, hidden: true });
    const [k, kValue] = part("k", "colours"), [missed, missedValue] = part("missed", "missed");
    const [fps, fpsValue] = part("fps", "frames/s"), [lag, lagValue] = part("lag", "lag"), [age, ageValue] = part("age", "last frame");
    const state = el("span", { class: "state" }), stripe = el("div", { class: "stripe", "aria-hidden": "true" });
    const link = el("a", { href: "/device/" + encodeURIComponent(card.device) },
      el("div", { class: "thumb" }, img), el("div", { class: "about" }, el("strong", { text: card.device }), state), stripe,
      el("dl", {}, k, missed, fps, lag, age));
    card.node = el("li", { "data-device": card.device }, link);
    card.parts = { img, state, stripe, kValue, missedValue, fpsValue, lagValue, ageValue, missed };
    inSight.observe(card.node);
  }

  const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  function draw(card) {
    const p = card.parts, now = Date.now() + offset;
    put(p.state, stateWord(card.state));
    p.state.dataset.state = card.state;
    put(p.kValue, count(card.clusters));
    put(p.missedValue, count(card.missed));
    p.missed.classList.toggle("wrong", card.missed > 0);
    put(p.fpsValue, fixed(card.fps));
    put(p.lagValue, duration(card.latency_ms));
    put(p.ageValue, card.captured_at_ms ? duration(now - card.captured_at_ms) + " ago" : DASH);
    if (p.stripe.dataset.of !== card.stripe) {
      p.stripe.dataset.of = card.stripe;
      const colours = card.stripe.match(/.{8}/g) ?? [];
      p.stripe.replaceChildren(...colours.map(c => el("i", { style: { background: "#" + c.slice(0, 6), flex: `${parseInt(c.slice(6), 16) || 1} 0 0` } })));
    }
    loadPicture(card);
  }

  function loadPicture(card) {
    if (card.picture === null || card.picture === card.shown || loading.size >= LOADING_MAX || loading.has(card.device)) return;
    if (Date.now() - (card.loadedAt ?? 0) < PICTURE_MS || document.hidden) return;
    const { img } = card.parts, end = shown => { loading.delete(card.device); if (shown) img.hidden = false; };
    loading.add(card.device);
    [card.shown, card.loadedAt] = [card.picture, Date.now()];
    img.onload = () => end(true);
    img.onerror = () => end(false);
    img.src = deviceUrl(card.device, `thumbnail.png?${card.picture}`);
  }

  function arrange() {
    const text = wanted.trim().toLowerCase();
    const hits = [...cards.values()].filter(c => !text || c.device.toLowerCase().includes(text) || stateWord(c.state).includes(text) || c.state.includes(text));
    hits.sort((a, b) => SORTS[sort][1](a, b) || SORTS.name[1](a, b));
    sortedAt = Date.now();
    const nodes = hits.map(c => c.node);
    if (nodes.length !== list.children.length || nodes.some((n, i) => list.children[i] !== n)) list.replaceChildren(...nodes);
    const online = hits.filter(c => c.state === "online").length;
    total.textContent = cards.size ? `${count(hits.length)} of ${count(cards.size)} devices, ${count(online)} online` : "";
    nothing.hidden = hits.length > 0;
    if (cards.size) nothing.replaceChildren(el("p", { text: `No device matches “${wanted}”.` }), el("button", { type: "button", text: "Show all", on: { click: () => { search.value = ""; find(); } } }));
    else nothing.replaceChildren(el("p", { text: "No device has sent anything yet." }), el("p", {}, "Start one: ", el("code", { text: "hueflow-edge run --source synthetic:320x240@30 --mqtt mqtt://BROKER --site SITE --device NAME" }), ", with a bridge of the same site."));
  }

  const drawInSight = once(() => { for (const card of cards.values()) if (card.inSight) draw(card); });
  function take(rows) {
    let fresh = false;
    for (const row of rows) {
      const data = Object.fromEntries(FIELDS.map((f, i) => [f, row[i]]));
      let card = cards.get(data.device);
      if (!card) { card = data; cards.set(card.device, card); make(card); fresh = true; } else Object.assign(card, data);
    }
    if (fresh || (sort !== "name" && Date.now() - sortedAt > SORT_MS && !list.contains(document.activeElement) && !list.matches(":hover"))) arrange();
    drawInSight();
  }

  const remember = settled(400, () => {
    const q = new URLSearchParams();
    if (wanted) q.set("q", wanted);
    if (sort !== "name") q.set("sort", sort);
    go(q.toString(), true);
  });
  const find = () => { wanted = search.value; arrange(); remember(); };
  search.addEventListener("input", find);
  order.addEventListener("change", () => { sort = order.value; arrange(); remember(); });

  async function load() {
    try {
      const fleet = await getJson("/api/fleet", abort.signal);
      offset = fleet.now_ms - Date.now();
      showHealth(fleet.health);
      sums.replaceChildren(ledgerSums(fleet.ledger));
      take(fleet.cards);
      arrange();
    } catch (error) {
      if (isAbort(error)) return;
      nothing.hidden = cards.size > 0;
      nothing.replaceChildren(el("p", { text: `The fleet cannot be shown: ${explain(error)}.` }), el("button", { type: "button", text: "Try again", on: { click: load } }));
    }
  }

  load();
  const disconnect = connect("/api/events", {
    hello(h) { showAway(false); offerOutages(h); },
    health: showHealth,
    ledger: l => sums.replaceChildren(ledgerSums(l)),
    fleet: f => { offset = f.now_ms - Date.now(); take(f.cards); },
    away: () => showAway(true),
  });
  const ages = setInterval(drawInSight, 1000);
  return { close() { abort.abort(); disconnect(); clearInterval(ages); remember.cancel(); inSight.disconnect(); } };
}
