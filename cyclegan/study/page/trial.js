// One trial: pictures, question, answer, and feedback in practice.

import { answers, ask, makeAnswers, marks, setOpen } from "./answers.js";
import { clear, draw, endExposure, frame, makeMask, present, unmeasured } from "./exposure.js";
import { keyWords } from "./keys.js";
import { arrangePlaces, isStacked, makeRoom } from "./layout.js";
import {
  canvases, heading, makeButton, places, question, setButtons, setKeys, setProgress, setSaid, textPart, trialPart,
} from "./parts.js";
import { call, send, sleep } from "./server.js";
import { about } from "./study.js";
import { clearMarks, makeTags } from "./tags.js";
import { put, say } from "./words.js";

const SIDES = [
  () => isStacked() ? say("Upper picture") : say("Left picture"),
  () => isStacked() ? say("Lower picture") : say("Right picture"),
];

/** Make the places, the mask, the question and the answers of this study, once. */
export function makeTrial() {
  const single = about.presentation === "single", [width, height] = about.size;
  document.body.dataset.pictures = single ? "1" : "2";
  document.body.dataset.task = about.task;
  canvases.forEach((canvas, index) => {
    Object.assign(canvas, { width, height });
    if (single) canvas.label = () => say("Picture");
    else canvas.label = SIDES[index];
    canvas.setAttribute("aria-label", canvas.label());
  });
  makeMask();
  makeAnswers();
  if (about.task === "tag") makeTags();
  arrangePlaces();
}

/** Show the places empty and the answers disabled. */
export function showTrial(state) {
  const fresh = document.body.dataset.screen !== "trial";
  document.body.dataset.screen = "trial";
  textPart.hidden = true;
  trialPart.hidden = false;
  for (const place of places) delete place.dataset.truth;
  for (const index of [0, 1]) clear(index);
  clearMarks();
  setOpen(false);
  for (const button of answers) button.classList.remove("chosen");
  setButtons(answers);
  setProgress(state);
  setSaid(null);
  setKeys(keyWords);
  if (fresh) heading(question);
}

/** Play one trial; the acknowledgement of its vote. Pictures are kept in practice only, for the feedback. */
export async function play({ state, pictures }) {
  const { token, seen } = state.trial;
  const practice = state.phase === "practice";
  let measured = unmeasured(), given;
  if (seen) {
    setSaid(() => say("Already shown before the interruption, and only once: please answer from memory, or guess."));
    given = await ask(await frame(), 300);
  } else {
    if (await makeRoom()) showTrial(state);
    await call("reveal", { body: { token } });
    const shown = await present(pictures, state.trial.exposure_ms); // A staircase has its own time for each trial.
    measured = shown.measured;
    given = await ask(shown.onset, about.exposure_ms ? 0 : 150);
    if (endExposure()) measured.focus_lost = true;
    if (!practice) pictures.forEach(bitmap => bitmap.close());
    if (!about.exposure_ms && !practice) [0, 1].forEach(clear);
  }
  for (const [key, value] of Object.entries(measured)) {
    if (typeof value === "number") measured[key] = Math.round(value * 10) / 10;
  }
  const value = given.value;
  const content = about.task === "tag"
    ? { marks: value === "nothing" ? [] : [...marks].map(([tag, box]) => ({ tag, box })) }
    : about.task === "rate" ? { rating: Number(value) } : about.presentation === "single" ? { verdict: value } : { chosen_side: value };
  return send({ token, ...content, ...measured, response_ms: Math.round(given.response_ms * 10) / 10 });
}

/** What changes after practice. */
export const afterPractice = n => about.task === "realness"
  ? say("The next one doesn't show the right answer.", "The next {n} don't show the right answer.", { n })
  : say("The next one counts.", "The next {n} count.", { n });

// --- feedback -----------------------------------------------------------------------------------------------

const TRUTHS = { real: () => say("real"), fake: () => say("fake") };
const PICTURE_WAS = {
  real: () => say("The picture was real."),
  fake: () => say("The picture was fake."),
};
const REAL_WAS = {
  left: () => isStacked() ? say("The real picture was the upper one.") : say("The real picture was on the left."),
  right: () => isStacked() ? say("The real picture was the lower one.") : say("The real picture was on the right."),
};
const FAKE_WAS = {
  left: () => isStacked() ? say("The fake was the upper one.") : say("The fake was on the left."),
  right: () => isStacked() ? say("The fake was the lower one.") : say("The fake was on the right."),
};

/** Show the right answer, for a while or until the participant continues, and the pictures again if they are kept. */
export async function showFeedback({ correct, real_side: side, truth }, pictures) {
  [0, 1].forEach(clear);
  pictures?.forEach((bitmap, index) => draw(index, bitmap));
  if (side) places.forEach(place => { place.dataset.truth = place.dataset.side === side ? "real" : "fake"; });
  else places[0].dataset.truth = truth;
  for (const place of places) put(place.querySelector(".truth"), () => TRUTHS[place.dataset.truth ?? "fake"]());
  const other = side === "left" ? "right" : "left";
  const was = !side ? PICTURE_WAS[truth] : about.question === "fake" ? FAKE_WAS[other] : REAL_WAS[side];
  const verdict = correct ? () => say("✓ Correct.") : () => say("✗ Not quite.");
  setSaid(() => `${verdict()} ${was()}`, correct ? "right" : "wrong");
  setKeys(() => say("Enter: continue"));
  await Promise.race([
    about.feedback_ms ? sleep(about.feedback_ms) : new Promise(() => {}),
    new Promise(resolve => setButtons([makeButton(() => say("Continue"), resolve, { className: "main" })])),
  ]);
}
