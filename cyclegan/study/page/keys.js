// The keyboard: keys that answer the question, and Enter for the main button.

import { answer, answers } from "./answers.js";
import { isStacked } from "./layout.js";
import { buttons, tagsPart } from "./parts.js";
import { about, asked } from "./study.js";
import { say } from "./words.js";

const PAIR = { ArrowLeft: "left", ArrowRight: "right" }, STACKED = { ArrowUp: "left", ArrowDown: "right" };
const VALUES = {
  real: PAIR,
  fake: PAIR,
  pick: { ...PAIR, ArrowDown: "tie", " ": "tie" },
  single: { ArrowLeft: "real", ArrowRight: "fake" },
  rate: Object.fromEntries([..."12345"].map(key => [key, key])),
};
const pairWords = () => isStacked() ? say("↑ upper   ↓ lower") : say("← left   → right");
const WORDS = {
  real: pairWords,
  fake: pairWords,
  pick: () => isStacked()
    ? say("↑ upper   ↓ lower   space: no difference") : say("← left   → right   ↓ or space: no difference"),
  single: () => say("← real   → fake"),
  rate: () => say("1 to 5: bad to excellent"),
  tag: () => say("1 to {count}: choose   0: nothing wrong   Enter: next", { count: about.tags.length }),
};

/** The keys and what they answer, in words. */
export const keyWords = () => WORDS[asked()]();

document.addEventListener("keydown", event => {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
  if (document.querySelector("dialog[open]")) return;
  document.body.classList.remove("touched");
  const control = event.target.closest?.("button, a, input, textarea");
  if (event.key === "Enter" && (!control || control.type === "checkbox")) {
    const main = buttons.querySelector("button.main:not([aria-disabled=true])");
    if (main && !document.body.dataset.consent) { event.preventDefault(); press(main, event); }
    return;
  }
  if (document.body.dataset.screen !== "trial" || !about) return;
  if (about.task === "tag") {
    const box = tagsPart.querySelectorAll("input")[Number(event.key) - 1];
    if (/^[1-9]$/.test(event.key) && box && !box.disabled) box.click();
    else if (event.key === "0") press(answers[0], event);
    return;
  }
  if (event.key === " " && control) return; // It presses the focused button.
  const value = (isStacked() && STACKED[event.key]) || VALUES[asked()][event.key];
  if (!value) return;
  event.preventDefault();
  press(answers.find(button => button.value === value), event);
});
document.addEventListener("pointerdown", event => {
  document.body.classList.toggle("touched", event.pointerType === "touch");
});

/** Press a button by its key. An answer is timed by the key's own event, because a click would come later. */
function press(button, event) {
  if (!answers.includes(button)) button.click();
  else if (button.getAttribute("aria-disabled") !== "true") answer(button.value, event, button);
}
