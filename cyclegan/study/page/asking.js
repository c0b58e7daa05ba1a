// The owner's questions, before the first trial or after the last one.

import { make, paragraph, screen, setProgress, title } from "./parts.js";
import { call } from "./server.js";
import { keep, session } from "./storage.js";
import { about } from "./study.js";
import { language, put, say } from "./words.js";

const TITLES = {
  before: () => say("Before you begin"),
  after: () => say("Before you leave"),
};
const FARTHEST = 1e9;
const MOST_CHARACTERS = 1000;
const CONTROLS = /(?![\n\t])\p{Cc}|\p{Cs}/gu; // Pasted by accident; a database can't keep them all.
const SEEN = /[^\p{Z}\p{Cc}\p{Cf}]/u;

/** Ask until the answers are recorded; return the session's state after them. */
export async function askQuestions(when) {
  setProgress(null);
  const fields = about.questions.filter(question => question.when === when).map(makeField);
  await screen([
    title(TITLES[when]),
    paragraph(() => say("One question, please.", "{n} questions, please.", { n: fields.length })),
    ...fields.map(({ element }) => element),
  ], [{ words: () => say("Continue"), main: true, check: () => check(fields) }]);
  const answers = Object.fromEntries(fields.map(({ id, value }) => [id, value()]));
  const state = await call("replies", { body: { when, answers } });
  keep({ draft: null });
  return state;
}

/** Show what is wrong with the answers, and go to the first that is; true if all are right. */
function check(fields) {
  const wrong = fields.filter(field => {
    const words = field.problem();
    field.element.classList.toggle("wrong", Boolean(words));
    put(field.said, words ?? (() => ""));
    return words;
  });
  wrong[0]?.element.scrollIntoView({ block: "center" });
  wrong[0]?.element.querySelector("input, textarea").focus({ preventScroll: true });
  return !wrong.length;
}

// --- fields -------------------------------------------------------------------------------------------------

const MAKE = { choice: makeChoice, number: makeNumber, text: makeText };

/** A question with its answer: {id, element, said, value, problem}; problem returns words or null. */
function makeField(question) {
  const { id, kind, required } = question;
  const element = make("fieldset", null, { className: "question" });
  const said = make("p", null, { className: "problem", id: `problem-${id}` });
  said.setAttribute("role", "status");
  element.setAttribute("aria-describedby", said.id);
  const text = () => question.translations?.[language]?.text ?? question.text;
  const legend = make("legend");
  legend.append(make("span", text));
  if (!required) legend.append(" ", make("span", () => say("(You may leave this out.)"), { className: "soft" }));
  const made = MAKE[kind](question, session.draft?.[id]);
  element.append(legend, ...made.parts, said);
  element.addEventListener("input", () => {
    keep({ draft: { ...session.draft, [id]: made.draft() } }); // A reload doesn't lose it.
    if (element.classList.contains("wrong")) put(said, made.problem() ?? (() => ""));
  });
  const unanswered = () => required && made.value() === null ? () => say("Please answer this question.") : null;
  return { id, element, said, value: made.value, problem: () => made.problem() ?? unanswered() };
}

function makeChoice({ id, options, required, translations }, draft) {
  const words = options.map((option, index) => () => translations?.[language]?.options[index] ?? option);
  if (!required) words.push(() => say("I'd rather not answer"));
  const inputs = words.map((_, index) => make("input", null, {
    type: "radio", name: id, value: index, checked: draft === index,
  }));
  const parts = inputs.map((input, index) => {
    const label = make("label", null, { className: "option" });
    label.append(input, make("span", words[index]));
    return label;
  });
  const chosen = () => inputs.findIndex(input => input.checked);
  return {
    parts, draft: chosen, problem: () => null,
    value: () => chosen() in options ? chosen() : null,
  };
}

function makeNumber({ least, most }, draft) {
  const input = make("input", null, { type: "number", step: "any", inputMode: "decimal", value: draft ?? "" });
  const value = () => input.value.trim() === "" ? null : Number(input.value);
  const RANGE = () => least === undefined ? say("Please write a number up to {most}.", { most: most ?? FARTHEST })
    : most === undefined ? say("Please write a number of {least} or more.", { least })
    : say("Please write a number from {least} to {most}.", { least, most });
  const problem = () => {
    if (input.validity.badInput) return () => say("Please write a number.");
    const given = value();
    const far = given < (least ?? -FARTHEST) || given > (most ?? FARTHEST);
    return given !== null && (far || !Number.isFinite(given)) ? RANGE : null;
  };
  return { parts: [input], draft: () => input.value, value, problem };
}

function makeText(_, draft) {
  const area = make("textarea", null, { rows: 3, maxLength: MOST_CHARACTERS, value: draft ?? "" });
  const value = () => {
    const text = area.value.replace(CONTROLS, "").trim();
    return SEEN.test(text) ? text : null;
  };
  return { parts: [area], draft: () => area.value, value, problem: () => null };
}
