// The places of the pictures: side by side or one above the other, their size, and whether that is enough.

import { canvases, make, paragraph, screen, textPart, title, trialPart, buttons } from "./parts.js";
import { about } from "./study.js";
import { relabel, say } from "./words.js";

const stage = document.getElementById("stage"), GAP = 10; // As in player.css.

/** Whether the left picture of a pair stands above the right one. */
export const isStacked = () => document.body.dataset.stacked === "yes";

/** The largest width of a picture, in CSS pixels. */
function most() {
  const [width] = about.size;
  if (about.device_scale) return width * about.device_scale / devicePixelRatio;
  return about.task === "tag" ? Math.max(320, 3 * width, 0.6 * innerHeight) : Math.max(320, 2 * width);
}

/** Run a function while the trial has its place on the page, though a text may be shown there. */
function asInTrial(measure) {
  const { screen: shown } = document.body.dataset, hidden = [textPart.hidden, trialPart.hidden];
  const main = textPart.parentElement, top = main.scrollTop;
  document.body.dataset.screen = "trial";
  [textPart.hidden, trialPart.hidden] = [true, false];
  try { return measure(); } finally {
    document.body.dataset.screen = shown ?? "text";
    [textPart.hidden, trialPart.hidden] = hidden;
    main.scrollTop = top;
  }
}

/** Arrange the places so that the pictures are as large as fits. */
function arrange() {
  const [width, height] = about.size, ratio = width / height, cap = most();
  stage.style.setProperty("--ratio", ratio);
  stage.style.setProperty("--most", `${cap}px`);
  if (about.presentation === "single") return;
  const { clientWidth: w, clientHeight: h } = stage;
  const beside = Math.min((w - GAP) / 2, h * ratio, cap), above = Math.min(w, (h - GAP) / 2 * ratio, cap);
  const stacked = above > beside + 1;
  if (stacked === isStacked()) return;
  document.body.dataset.stacked = stacked ? "yes" : "no";
  relabel();
}

export const arrangePlaces = () => asInTrial(arrange);
addEventListener("resize", () => { if (about) arrangePlaces(); });

/** The sizes on the screen, for the vote. */
export function sizes() {
  const css = canvases[0].getBoundingClientRect().width * (window.visualViewport?.scale ?? 1);
  return {
    picture_css_px: css, picture_device_px: css * devicePixelRatio, window_width: innerWidth, window_height: innerHeight,
    stacked: about.presentation === "single" ? null : isStacked(),
  };
}

/** Whether the pictures have the size that the study asks for. */
function isLargeEnough() {
  return asInTrial(() => {
    arrange();
    const { width, height } = canvases[0].getBoundingClientRect(), [planned] = about.size;
    const exact = !about.device_scale || Math.abs(width * devicePixelRatio - planned * about.device_scale) < 1;
    return exact && Math.min(width, height) > about.least_px - 1;
  });
}

/**
 * Ask for a larger window until the pictures have their size; true if it had to ask. Nothing is shown, and no time runs,
 * until then.
 */
export async function makeRoom(elsewhere = false) {
  let asked = false;
  for (; !isLargeEnough(); asked = true) {
    const check = () => {
      relabel();
      buttons.querySelector("button")?.setAttribute("aria-disabled", String(!isLargeEnough()));
    };
    const parts = [title(() => say("The pictures need more room")), paragraph(() => isLargeEnough()
      ? say("That is large enough. Continue when you are ready.")
      : say("Enlarge this window or turn your phone: the pictures would be smaller here than the study allows."))];
    if (elsewhere) {
      parts.push(make("p", () => say("If that isn't possible, open the link on a larger screen."), { className: "soft" }));
    }
    const pressed = screen(parts);
    check();
    addEventListener("resize", check);
    await pressed;
    removeEventListener("resize", check);
  }
  return asked;
}
