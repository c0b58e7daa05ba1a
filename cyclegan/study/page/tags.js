// Tags for what is wrong with a picture, each with a box if the participant draws one.

import { isOpen, marks, setOpen } from "./answers.js";
import { boxes, make, places, setSaid, tagsPart } from "./parts.js";
import { about } from "./study.js";
import { say } from "./words.js";

const TAGS = {
  blur: () => say("Blurred"),
  smear: () => say("Smeared"),
  colour: () => say("Wrong colour"),
  missing: () => say("Something missing"),
  invented: () => say("Something made up"),
  checkerboard: () => say("Checkered pattern"),
  other: () => say("Something else"),
};

/** The tag whose box is drawn. */
let drawing = null;

/** Make the tags of this study, once. */
export function makeTags() {
  tagsPart.hidden = false;
  for (const tag of about.tags) {
    const label = make("label"), box = make("input", null, { type: "checkbox", value: tag });
    label.append(box, make("span", TAGS[tag]), make("i", null, { textContent: "▢" }));
    label.dataset.tag = tag;
    box.addEventListener("change", () => {
      if (box.checked) marks.set(tag, null); else marks.delete(tag);
      drawing = box.checked ? tag : [...marks.keys()].at(-1) ?? null;
      showMarks();
    });
    tagsPart.append(label);
  }
  makeDrawing(places[0]);
}

/** Let the mouse or a finger draw boxes. */
function makeDrawing(place) {
  let start = null;
  const at = event => {
    const area = place.getBoundingClientRect();
    const parts = [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
    return parts.map(part => Math.min(1, Math.max(0, part)));
  };
  const drag = event => {
    if (!start) return;
    const end = at(event);
    const [x, y] = start.map((v, i) => Math.min(v, end[i])), [w, h] = start.map((v, i) => Math.abs(v - end[i]));
    const down = v => Math.floor(v * 1e4) / 1e4; // Rounded down, or the box could end beyond the edge.
    // A tap draws no box; it removes the one before.
    marks.set(drawing, w < 0.015 || h < 0.015 ? null : [x, y, w, h].map(down));
    showMarks();
  };
  place.addEventListener("pointerdown", event => {
    if (!isOpen() || drawing === null || !event.isPrimary || event.button) return;
    event.preventDefault();
    place.setPointerCapture(event.pointerId);
    start = at(event);
  });
  place.addEventListener("pointermove", drag);
  place.addEventListener("pointerup", event => { drag(event); start = null; });
  place.addEventListener("pointercancel", () => { start = null; });
}

export function clearMarks() {
  marks.clear();
  drawing = null;
  if (about.task === "tag") showMarks();
}

function showMarks() {
  boxes.replaceChildren(...[...marks].filter(([, box]) => box).map(([tag, [x, y, w, h]]) => {
    const element = make("div");
    const percent = part => `${100 * part}%`;
    Object.assign(element.style, { left: percent(x), top: percent(y), width: percent(w), height: percent(h) });
    element.append(make("span", TAGS[tag]));
    return element;
  }));
  for (const label of tagsPart.children) {
    const tag = label.dataset.tag;
    label.querySelector("input").checked = marks.has(tag);
    label.classList.toggle("boxed", Boolean(marks.get(tag)));
    label.classList.toggle("drawing", tag === drawing);
  }
  setSaid(drawing && (() => say("{tag}: draw a box around it if you like", { tag: TAGS[drawing]() })));
  if (isOpen()) setOpen(true);
}
