// The answers to a question: their buttons, and the time that an answer takes.

import { isStacked } from "./layout.js";
import { makeButton, places, question, tagsPart } from "./parts.js";
import { about, asked } from "./study.js";
import { put, say } from "./words.js";

const QUESTIONS = {
  real: () => say("Which picture is real?"),
  fake: () => say("Which picture is fake?"),
  single: () => say("Real or fake?"),
  pick: () => say("Which looks more real?"),
  tag: () => say("Choose everything that is wrong"),
  rate: () => say("How good is this picture?"),
};
/** From 1 to 5, as ITU-T P.910 names them. */
const RATINGS = [() => say("Bad"), () => say("Poor"), () => say("Fair"), () => say("Good"), () => say("Excellent")];

/** The buttons, the same for all trials. */
export let answers = [];
/** What is wrong with the picture so far: a box, or null, by tag. */
export const marks = new Map();
let awaited = null;

export const isOpen = () => awaited !== null;

/** Wait for an answer; one that comes within `guard` ms was not meant for this question. */
export function ask(onset, guard) {
  setOpen(true);
  return new Promise(resolve => { awaited = { resolve, onset, guard }; });
}

/** Take an answer, if one is awaited. */
export function answer(value, event, button) {
  if (!awaited || event.detail > 1 || event.repeat) return;
  if (event.timeStamp - awaited.onset < awaited.guard) return;
  const { resolve, onset } = awaited;
  awaited = null;
  setOpen(false);
  button?.classList.add("chosen");
  resolve({ value, response_ms: Math.max(0, event.timeStamp - onset) });
}

export function setOpen(open) {
  document.body.classList.toggle("open", open);
  for (const button of answers) {
    if (open) button.classList.remove("chosen");
    button.setAttribute("aria-disabled", String(!open || (button.value === "next" && !marks.size)));
  }
  for (const box of tagsPart.querySelectorAll("input")) box.disabled = !open;
}

function makeAnswer(value, words, className = "") {
  const button = makeButton(words, event => {
    if (button.getAttribute("aria-disabled") === "true") return;
    for (const other of answers) other.classList.toggle("last", other === button);
    answer(value, event, button);
  }, { className });
  button.value = value;
  return button;
}

/** Make the question and the answers of this study, once. */
export function makeAnswers() {
  if (about.task === "tag") {
    answers = [makeAnswer("nothing", () => say("Nothing wrong")), makeAnswer("next", () => say("Next"), "main")];
  } else if (about.task === "rate") {
    answers = RATINGS.map((words, n) => makeAnswer(String(n + 1), () => `${n + 1}\n${words()}`, "rating"));
  } else if (about.presentation === "single") {
    answers = [makeAnswer("real", () => say("← Real")), makeAnswer("fake", () => say("Fake →"))];
  } else {
    answers = [
      makeAnswer("left", () => isStacked() ? say("↑ Upper") : say("← Left")),
      makeAnswer("right", () => isStacked() ? say("Lower ↓") : say("Right →")),
    ];
    places.forEach(place => place.addEventListener("click", event => {
      const button = answers.find(({ value }) => value === place.dataset.side);
      answer(button.value, event, button);
    }));
  }
  if (about.task === "pick") answers.splice(1, 0, makeAnswer("tie", () => say("No difference"), "tie"));
  put(question, QUESTIONS[asked()]);
}
