// Commands: sends a change to the device, and shows what the device answered in its status.

import { el } from "./dom.js";
import { deviceUrl, explain, isAbort, postJson } from "./api.js";
import { short } from "./format.js";

export function commandPart(device, signal, wanted) {
  const button = el("button", { type: "button", id: "apply", disabled: true, text: "Apply to the device", on: { click: send } });
  const outcome = el("p", { class: "outcome", id: "outcome", role: "status", hidden: true });
  let session = "", hint = null;

  function show(kind, text) {
    outcome.hidden = false;
    outcome.dataset.kind = kind;
    outcome.textContent = text;
  }

  async function send() {
    const lambda = wanted();
    button.disabled = true;
    show("waiting", `Sending lambda ${short(lambda)} to ${device}.`);
    try {
      const answer = await postJson(deviceUrl(device, "command"), { lambda }, session, signal);
      if (answer.outcome === "refused") show("refused", `✗ ${device} refused: ${answer.reason}.`);
      else show("done", `✓ ${device} confirms: lambda ${short(answer.in_force.lambda)} is in force.`);
    } catch (error) {
      if (isAbort(error)) return;
      show("refused", `✗ Not applied: ${explain(error)}.`);
    }
    button.disabled = hint !== null;
  }

  return {
    nodes: [button, outcome],
    setCommands(now, number) {
      session = number;
      hint = now;
      button.disabled = hint !== null;
      if (hint !== null) show("off", `Commands are off. ${hint[0].toUpperCase()}${hint.slice(1)}.`);
      else if (outcome.dataset.kind === "off") outcome.hidden = true;
    },
  };
}
