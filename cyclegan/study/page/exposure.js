// The timing of pictures. They are drawn and removed on frame boundaries, and the time on the screen is measured.

import { sizes } from "./layout.js";
import { canvases } from "./parts.js";
import { about } from "./study.js";

const contexts = canvases.map(canvas => canvas.getContext("2d", { alpha: true }));

/** Resolves at the next frame, with its time. */
export const frame = () => new Promise(resolve => requestAnimationFrame(resolve));
/** Milliseconds of a frame on this screen. */
export let period = 1000 / 60;
let mask, exposing = null, hidings = 0;

const median = values => values.sort((a, b) => a - b)[values.length >> 1];

/** Wait for `ms` on frame boundaries; the time of the frame that has just begun. Measures the period. */
export async function blank(ms) {
  const steps = [];
  let began = await frame(), last = began, now, before = hidings;
  do {
    now = await frame();
    if (hidings > before) [began, before] = [now, hidings]; // The page was hidden: start again.
    steps.push(now - last);
    last = now;
  } while (now - began < ms);
  if (steps.length > 4) period = median(steps);
  return now;
}

export function clear(index) {
  contexts[index].clearRect(0, 0, ...about.size);
}

export function draw(index, picture) {
  contexts[index].drawImage(picture, 0, 0);
}

addEventListener("blur", () => { if (exposing) exposing.lost = true; });
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return;
  hidings += 1;
  if (!exposing) return;
  exposing.lost = true;
  if (!about.exposure_ms) return;
  exposing.end ??= performance.now(); // A hidden page gets no frames, so the pictures are removed at once.
  exposing.cleared ??= exposing.end;
  exposing.which.forEach(clear);
});

/** Show pictures from this frame on, until the frame that is nearest to the planned end. */
async function expose(which, pictures, onset, measured, planned) {
  const exposure = exposing = { which, lost: false, end: null, cleared: null };
  for (const index of which) draw(index, pictures[index]);
  const drawn = performance.now(); // Later than the frame began, if the page was busy.
  if (!about.exposure_ms) return onset; // They remain until the answer.
  let now = onset;
  while (exposure.end === null) {
    const last = now;
    now = await frame();
    if (exposure.end !== null) break; // The page was hidden, and is visible again.
    measured.frames += 1;
    measured.longest_frame_ms = Math.max(measured.longest_frame_ms, now - last);
    if (now - onset >= planned - period / 2) exposure.end = now;
  }
  for (const index of which) {
    clear(index);
    if (about.mask) draw(index, mask);
    measured[index ? "exposure_right_ms" : "exposure_left_ms"] = exposure.end - onset;
  }
  exposure.cleared ??= performance.now();
  for (const index of which) {
    measured[index ? "exposure_right_clock_ms" : "exposure_left_clock_ms"] = exposure.cleared - drawn;
  }
  measured.focus_lost ||= exposure.lost;
  exposing = null;
  return now;
}

/** End the exposure of pictures that remain until the answer; true if the page lost the focus during it. */
export function endExposure() {
  const lost = exposing?.lost ?? false;
  exposing = null;
  return lost;
}

export const unmeasured = () => ({
  exposure_left_ms: null, exposure_right_ms: null, exposure_left_clock_ms: null, exposure_right_clock_ms: null,
  frames: null, longest_frame_ms: null, focus_lost: false,
});

/** Show a blank, then the pictures; the measurements, and `onset`: the time from which the question may be answered. */
export async function present(pictures, planned = about.exposure_ms) {
  const measured = { ...unmeasured(), ...(about.exposure_ms ? { frames: 0, longest_frame_ms: 0 } : {}), ...sizes() };
  const groups = about.presentation === "sequence" ? [[0], [1]] : [pictures.map((_, index) => index)];
  let onset;
  for (const which of groups) {
    onset = await expose(which, pictures, await blank(about.blank_ms), measured, planned);
  }
  return { measured, onset };
}

/** Make the mask: coarse and fine blocks of colour, the same for all trials of a session and independent of pictures. */
export function makeMask() {
  const [width, height] = about.size;
  mask = Object.assign(document.createElement("canvas"), { width, height });
  const context = mask.getContext("2d");
  for (const parts of [4, 8, 16, 32]) {
    const size = Math.max(1, Math.ceil(Math.max(width, height) / parts));
    for (let y = 0; y < height; y += size) for (let x = 0; x < width; x += size) {
      if (parts > 4 && Math.random() < 0.6) continue;
      context.fillStyle = `rgb(${[0, 0, 0].map(() => 30 + Math.floor(Math.random() * 196)).join(" ")})`;
      context.fillRect(x, y, size, size);
    }
  }
}
