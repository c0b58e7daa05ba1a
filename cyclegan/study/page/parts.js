// Elements of the page, buttons, and screens of text. `words` is always a function, because the language may change.

import { put, say } from "./words.js";

export const [textPart, trialPart, question, tagsPart, said, buttons, keys, progress] =
  ["text", "trial", "question", "tags", "said", "buttons", "keys", "progress"].map(id => document.getElementById(id));
export const bar = document.querySelector("#bar i"), boxes = document.querySelector(".boxes");
export const places = [...document.querySelectorAll(".place")];
export const canvases = places.map(place => place.querySelector("canvas"));

/** An element with words on it. */
export function make(tag, words, properties = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  if (words) put(element, words);
  return element;
}

export const title = words => make("h1", words);
export const paragraph = words => make("p", words);

/** Show these buttons; the keyboard's focus stays among them. */
export function setButtons(elements) {
  const focused = buttons.contains(document.activeElement);
  for (const element of elements) put(element, element.words); // What isn't on the page misses a change of language.
  buttons.replaceChildren(...elements);
  if (focused) (buttons.querySelector(".last") ?? elements.at(-1))?.focus();
}

export function makeButton(words, press, properties = {}) {
  const button = make("button", words, { type: "button", ...properties });
  button.addEventListener("click", event => {
    if (event.detail > 1) return; // The second click of a double click was meant for the button before.
    if (event.detail) button.blur(); // After a mouse or finger, the next key answers the question.
    press(event);
  });
  return button;
}

/**
 * Show a page of text; resolves with the value of the button that is pressed. Enter presses the `main` one, too.
 * Choices are {words, value, main, check}, where `check` returns true once the page is filled in, or {words, href} for a link; without any there is a button to continue.
 */
export function screen(parts, choices = [{ words: () => say("Continue"), main: true }]) {
  document.body.dataset.screen = "text";
  trialPart.hidden = true;
  textPart.replaceChildren(...parts);
  textPart.hidden = false;
  textPart.parentElement.scrollTop = 0;
  setKeys(null);
  return new Promise(resolve => {
    setButtons(choices.map(({ words, value, main, check, href }) => {
      if (href) { // A frame may not be allowed to leave its page.
        const target = window === window.top ? "_top" : "_blank";
        return make("a", words, { href, className: "button main", rel: "noreferrer", target });
      }
      return makeButton(words, () => { if (check?.() ?? true) resolve(value); }, { className: main ? "main" : "" });
    }));
    heading(parts[0]);
  });
}

/** Move the focus to a heading, so that a screen reader reads it. */
export function heading(element) {
  element.tabIndex = -1;
  element.focus({ preventScroll: true });
}

export function setProgress(state) {
  put(progress, () => {
    if (!state) return "";
    return state.phase === "test" ? say("{number} of {of}", state) : say("Practice: {number} of {of}", state);
  });
  bar.style.transform = `scaleX(${state ? (state.number - 1) / state.of : 0})`;
}

export function setKeys(words) {
  put(keys, words ?? (() => ""));
}

export function setSaid(words, kind = "") {
  said.className = kind;
  put(said, words ?? (() => ""));
}
