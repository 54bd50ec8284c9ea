// The page: shows the view that the address names, and keeps address and view together.
//
// `/` is the fleet, `/device/NAME` a device. A view is made anew for each address and closed before the next one, which ends
// all that it asked for: no late answer can land in another view.

import { byId, el } from "./dom.js";
import { fleetView } from "./fleet.js";
import { deviceView } from "./device.js";
import { showAway } from "./banner.js";

let view = null, shown = null;

function route() {
  const { pathname, search } = location, query = new URLSearchParams(search);
  const device = pathname.match(/^\/device\/([^/]+)$/);
  let name = null;
  try { name = device && decodeURIComponent(device[1]); } catch { /* It is no name. */ }
  // Another range of the same device is the same view.
  if (name !== null && shown === name && view?.setQuery) return view.setQuery(query);
  view?.close();
  showAway(false);
  shown = name;
  const root = byId("view");
  root.replaceChildren();
  const crumbs = name === null ? [el("span", { text: "Fleet", "aria-current": "page" })]
    : [el("a", { href: "/", text: "Fleet" }), el("span", { class: "slash", "aria-hidden": "true", text: "/" }), el("span", { text: name, "aria-current": "page" })];
  byId("crumbs").replaceChildren(...crumbs);
  document.title = name === null ? "Hueflow" : `${name} · Hueflow`;
  const go = (query, replace) => navigate(location.pathname + (query ? "?" + query : ""), replace);
  view = name === null ? fleetView(root, query, go) : deviceView(root, name, query, go);
}

export function navigate(url, replace = false) {
  const target = new URL(url, location.href);
  if (target.pathname + target.search === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", target);
  if (!replace) route();
}

document.addEventListener("click", event => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const url = new URL(link.href);
  if (url.origin !== location.origin || link.hasAttribute("download") || url.hash || !/^\/(device\/[^/]+)?$/.test(url.pathname)) return;
  event.preventDefault();
  navigate(url);
  byId("view").focus({ preventScroll: true });
  scrollTo(0, 0);
});
addEventListener("popstate", route);
route();
