// The viewer of the compare page: one set of tiles, shown as a grid, two of them under a divider, or one at a time.
// Gradio calls this with `element` (what html_template became), `props` (`value`: what `comparison.compare` yields;
// `words`: translations of the texts here, by language) and `watch`. Names that a file or a visitor has given get into
// the page as text only.

const translated = props.words[navigator.language.slice(0, 2).toLowerCase()] ?? {};
const say = (text, values = {}) => (translated[text] ?? text).replace(/\{(\w+)\}/g, (_, name) => values[name]);
const VIEWS = {grid: () => say("Grid"), slider: () => say("Slider"), scrub: () => say("Scrub")};
const SHOWS = {fake: names => say("As {there}", names), rec: names => say("Back to {here}", names),
               lost: () => say("Lost on the way")};
const MOST_ZOOM = 32;
const PIXELATED_FROM = 3; // Screen pixels for each of the picture's.

function make(tag, attributes = {}, ...inside) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value);
  }
  node.append(...inside);
  return node;
}

// Where no entry has a way back, only the translations can be looked at.
const showing = () => (shown.returns ? look.show : "fake");
const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
const button = (text, act, attributes = {}) => make("button", {type: "button", click: act, ...attributes}, text);

// --- what is looked at, and how ------------------------------------------------------------------------------------

const asked = new URLSearchParams(location.search);
const number = (name, otherwise) => (/^\d+(\.\d+)?$/.test(asked.get(name) ?? "") ? Number(asked.get(name)) : otherwise);
const oneOf = (all, name) => (Object.hasOwn(all, asked.get(name)) ? asked.get(name) : Object.keys(all)[0]);
const look = {
  view: oneOf(VIEWS, "view"), show: oneOf(SHOWS, "show"),
  left: number("left", 1), right: number("right", Infinity), at: number("at", 1), // Tiles; 0 is the input.
  split: clamp(number("split", 50), 0, 100) / 100,
  zoom: clamp(number("zoom", 1), 1, MOST_ZOOM), x: number("x", 50) / 100, y: number("y", 50) / 100, // The middle.
};
let shown = null; // The newest value with entries.
let tiles = [];

// --- the parts -----------------------------------------------------------------------------------------------------

const viewer = element.querySelector(".viewer");
const choice = (label, names, act) => make(
  "div", {class: "choice", role: "group", "aria-label": label},
  ...Object.keys(names).map(name => button(names[name]({}), () => act(name), {"data-name": name})),
);
const views = choice(say("How to look"), VIEWS, view => change({view}));
const shows = choice(say("What to look at"), SHOWS, show => change({show}));
const percent = button("100%", () => whole(), {title: say("Whole picture"), class: "percent"});
const zooms = make(
  "div", {class: "choice", role: "group", "aria-label": say("Magnification")},
  button("−", () => zoomBy(1 / 1.5), {"aria-label": say("Reduce")}), percent,
  button("+", () => zoomBy(1.5), {"aria-label": say("Magnify")}),
);
const full = button(say("Full screen"), () => (document.fullscreenElement ? document.exitFullscreen() : viewer.requestFullscreen()),
                    {class: "plain full"});
full.hidden = !document.fullscreenEnabled;

const stage = make("div", {class: "stage", tabindex: 0, role: "group", "aria-label": say("The pictures"),
                           "aria-describedby": "viewer-keys"});
const handle = make("div", {class: "handle", role: "slider", tabindex: 0, "aria-label": say("Divider between left and right"),
                            "aria-valuemin": 0, "aria-valuemax": 100});
const over = make("div", {class: "over"}, handle);
const [left, right] = [["left", say("Left")], ["right", say("Right")]].map(([side, label]) =>
  make("select", {"aria-label": label, change: event => change({[side]: Number(event.target.value)})}));
const pair = make("div", {class: "pair"}, left, right);
const range = make("input", {type: "range", min: 1, step: 1, "aria-label": say("Step through the epochs"),
                             input: event => change({at: Number(event.target.value)})});
const steps = make("div", {class: "steps", "aria-hidden": "true"});
const walk = make("div", {class: "walk"}, range, steps);
const copy = button(say("Copy link"), copyLink, {class: "plain"});
const own = make("span", {class: "own"}, say("Your own picture is not part of the link."));
viewer.append(
  make("div", {class: "tools"}, views, shows, zooms, full), pair, walk, stage,
  make("div", {class: "below"}, make("span", {class: "keys", id: "viewer-keys"}, say(
    "Keys: + and − magnify, 0 shows everything, arrows move; in Scrub ← → and space step through the epochs.")),
       own, copy),
);
viewer.hidden = true;

// --- drawing -------------------------------------------------------------------------------------------------------

function change(changes) {
  Object.assign(look, changes);
  draw();
}

function draw() {
  if (!shown) return;
  const last = shown.entries.length;
  const bounded = tile => clamp(Math.round(tile), 0, last);
  [look.left, look.right, look.at] = [bounded(look.left), bounded(look.right), Math.max(1, bounded(look.at))];
  viewer.hidden = false;
  viewer.dataset.view = look.view;
  stage.style.setProperty("--aspect", shown.width / shown.height);
  stage.style.setProperty("--columns", [1, 1, 2, 3, 4, 3, 3, 4][last + 1]);
  while (tiles.length > last + 1) tiles.pop().figure.remove();
  while (tiles.length < last + 1) tiles.push(newTile());
  tiles.forEach(drawTile);
  stage.append(over);

  for (const node of [...views.children, ...shows.children])
    node.setAttribute("aria-pressed", [look.view, showing()].includes(node.dataset.name));
  shows.hidden = !shown.returns;
  for (const node of shows.children) node.textContent = SHOWS[node.dataset.name](shown);
  for (const [select, tile] of [[left, look.left], [right, look.right]]) {
    select.replaceChildren(...tiles.map((each, n) => make("option", {value: n}, each.name)));
    select.value = tile;
  }
  range.max = last;
  range.value = look.at;
  range.setAttribute("aria-valuetext", tiles[look.at].name);
  steps.replaceChildren(...shown.entries.map((_, n) =>
    button(tiles[n + 1].short, () => change({at: n + 1}), {tabindex: -1, class: n + 1 === look.at ? "here" : ""})));
  own.hidden = !shown.own;
  drawSplit();
  drawZoom();
  remember();
}

function newTile() {
  const img = make("img", {draggable: "false"});
  const wait = make("span", {class: "wait"});
  const title = make("b");
  const about = make("span", {class: "about"});
  const figures = make("span", {class: "figures", title: say("L1 and SSIM of the returned picture against the input: a lower L1 and a higher SSIM are better")});
  const save = make("a", {class: "save", download: ""}, "↓");
  const figure = make("figure", {}, make("div", {class: "frame"}, img, wait),
                      make("figcaption", {}, make("span", {class: "name"}, title, save), about, figures));
  stage.append(figure);
  return {figure, img, wait, title, about, figures, save};
}

function drawTile(tile, n) {
  const entry = n ? shown.entries[n - 1] : null;
  const url = entry ? entry[showing()] : shown.input;
  tile.name = entry ? entry.label : say("input");
  tile.short = entry ? String(entry.epoch) : "";
  tile.figure.classList.toggle("left", n === look.left);
  tile.figure.classList.toggle("right", n === look.right && look.left !== look.right);
  tile.figure.classList.toggle("at", n === look.at);
  tile.title.textContent = tile.name;
  tile.about.textContent = entry ? entry.created.slice(0, 16).replace("T", " ") : `${shown.here}, ${shown.width}×${shown.height}`;
  const figures = [["l1", "L1", 1, Math.min], ["ssim", "SSIM", 3, Math.max]].filter(([key]) => entry?.[key] != null);
  const parts = figures.flatMap(([key, name, digits, best], place) => {
    const all = shown.entries.map(each => each[key]).filter(each => each != null);
    const isBest = new Set(all).size > 1 && entry[key] === best(...all);
    const text = `${name} ${entry[key].toFixed(digits).replace(/^-(?=[0.]+$)/, "")}`;
    return [place ? ", " : " ", make("span", isBest ? {class: "best", title: say("the best of these")} : {}, text)];
  });
  tile.figures.replaceChildren(...(parts.length ? [say("Way back:"), ...parts] : []));
  tile.img.hidden = tile.save.hidden = !url;
  tile.wait.hidden = Boolean(url);
  if (url) {
    if (tile.img.getAttribute("src") !== url) tile.img.src = tile.save.href = url;
    const what = entry ? SHOWS[showing()](shown) : shown.here;
    tile.img.alt = `${tile.name}, ${what}`;
    tile.save.setAttribute("aria-label", say("Save {name}", tile));
    tile.save.title = say("Save {name}", tile);
  } else {
    const waits = !entry.fake && !entry.error;
    tile.wait.classList.toggle("busy", waits);
    tile.wait.textContent = entry.error ?? (waits ? say("waiting …") : say("No way back here"));
  }
}

function drawSplit() {
  stage.style.setProperty("--split", look.split);
  handle.setAttribute("aria-valuenow", Math.round(100 * look.split));
  handle.setAttribute("aria-valuetext", `${tiles[look.left]?.name} ${Math.round(100 * look.split)}%`);
}

function drawZoom() {
  const half = 0.5 / look.zoom;
  look.x = clamp(look.x, half, 1 - half);
  look.y = clamp(look.y, half, 1 - half);
  stage.style.setProperty("--zoom", look.zoom);
  stage.style.setProperty("--x", 0.5 - look.zoom * look.x);
  stage.style.setProperty("--y", 0.5 - look.zoom * look.y);
  stage.classList.toggle("zoomed", look.zoom > 1);
  percent.textContent = `${Math.round(100 * look.zoom)}%`;
  const frame = [...stage.querySelectorAll(".frame")].find(each => each.clientWidth);
  stage.classList.toggle("pixelated", look.zoom * frame?.clientWidth > PIXELATED_FROM * shown.width);
}

// --- magnifying and moving, all tiles together ---------------------------------------------------------------------

// `at`: the place in the frame, 0 to 1 in both directions, that stays where it is.
function zoomBy(factor, at = [0.5, 0.5]) {
  const zoom = clamp(look.zoom * factor, 1, MOST_ZOOM);
  look.x += (at[0] - 0.5) * (1 / look.zoom - 1 / zoom);
  look.y += (at[1] - 0.5) * (1 / look.zoom - 1 / zoom);
  look.zoom = zoom < 1.01 ? 1 : zoom;
  drawZoom();
  remember();
}

function moveBy(dx, dy) { // In frames.
  look.x -= dx / look.zoom;
  look.y -= dy / look.zoom;
  drawZoom();
  remember();
}

function whole() {
  look.zoom = 1;
  drawZoom();
  remember();
}

function splitTo(split) {
  look.split = clamp(split, 0, 1);
  drawSplit();
  remember();
}

const step = by => change({at: 1 + (look.at - 1 + by + shown.entries.length) % shown.entries.length});

function place(event, frame) {
  const box = frame.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

// A wheel that was turned to scroll the page goes on doing so over the pictures.
let scrolled = 0;
addEventListener("wheel", event => {
  if (!event.target.closest?.(".viewer .frame")) scrolled = event.timeStamp;
}, {passive: true, capture: true});
stage.addEventListener("wheel", event => {
  const frame = event.target.closest(".frame");
  const scrolls = event.timeStamp - scrolled < 250 || (look.zoom === 1 && event.deltaY > 0);
  if (!frame || (scrolls && !event.ctrlKey)) {
    scrolled = event.timeStamp;
    return;
  }
  event.preventDefault();
  zoomBy(Math.exp(-clamp(event.deltaY, -100, 100) * (event.ctrlKey ? 0.01 : 0.003)), place(event, frame));
}, {passive: false});

// Where each finger or the mouse was last; two of them pinch.
const pointers = new Map();
let dragged = null;
stage.addEventListener("pointerdown", event => {
  const frame = event.target === handle ? over : event.target.closest(".frame");
  if (!frame || event.button) return;
  if (!pointers.size) dragged = {frame, splits: event.target === handle || (look.view === "slider" && look.zoom === 1)};
  pointers.set(event.pointerId, [event.clientX, event.clientY]);
  frame.setPointerCapture(event.pointerId);
  if (dragged.splits && pointers.size === 1) splitTo(place(event, over)[0]);
});
stage.addEventListener("pointermove", event => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const box = dragged.frame.getBoundingClientRect();
  const now = [event.clientX, event.clientY];
  pointers.set(event.pointerId, now);
  if (pointers.size === 2) {
    const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, spot]) => spot);
    const far = spot => Math.hypot(spot[0] - other[0], spot[1] - other[1]) || 1;
    const middle = {clientX: (now[0] + other[0]) / 2, clientY: (now[1] + other[1]) / 2};
    zoomBy(far(now) / far(before), place(middle, dragged.frame));
    moveBy((now[0] - before[0]) / 2 / box.width, (now[1] - before[1]) / 2 / box.height);
  } else if (dragged.splits) {
    splitTo(place(event, over)[0]);
  } else {
    moveBy((now[0] - before[0]) / box.width, (now[1] - before[1]) / box.height);
  }
});
for (const end of ["pointerup", "pointercancel"])
  stage.addEventListener(end, event => pointers.delete(event.pointerId));
stage.addEventListener("touchmove", event => {
  if (event.touches.length > 1) event.preventDefault(); // Or the browser magnifies the page.
}, {passive: false});
stage.addEventListener("dblclick", event => event.target.closest(".frame") && whole());

const WALK = {ArrowLeft: -1, ArrowRight: 1, " ": 1};
const MOVES = {ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1]};
const ZOOMS = {"+": 1.25, "=": 1.25, "-": 0.8, "_": 0.8};
stage.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target !== stage) return;
  const {key} = event;
  if (key in ZOOMS) zoomBy(ZOOMS[key]);
  else if (key === "0") whole();
  else if (look.view === "scrub" && key in WALK) step(WALK[key]);
  else if (key in MOVES && look.zoom > 1) moveBy(...MOVES[key]);
  else return;
  event.preventDefault();
});
range.addEventListener("keydown", event => {
  if (event.key !== " ") return;
  event.preventDefault();
  step(1);
});
handle.addEventListener("keydown", event => {
  const by = event.shiftKey ? 0.1 : 0.02;
  const to = {ArrowLeft: look.split - by, ArrowDown: look.split - by, ArrowRight: look.split + by,
              ArrowUp: look.split + by, PageDown: look.split - 0.1, PageUp: look.split + 0.1, Home: 0, End: 1}[event.key];
  if (to === undefined) return;
  event.preventDefault();
  splitTo(to);
});
new ResizeObserver(() => shown && drawZoom()).observe(stage);

// --- the link ------------------------------------------------------------------------------------------------------

let timer;
function remember() {
  clearTimeout(timer);
  timer = setTimeout(putLink, 250); // Browsers take only so many changes in a time.
}

// Only once everything is there: what was stopped or went wrong is nothing to come back to.
function putLink() {
  if (!shown?.done) return;
  const how = new URLSearchParams();
  if (look.view !== "grid") how.set("view", look.view);
  if (showing() !== "fake") how.set("show", showing());
  const percents = names => names.forEach(name => how.set(name, (100 * look[name]).toFixed(1)));
  if (look.view === "slider") {
    how.set("left", look.left);
    how.set("right", look.right);
    percents(["split"]);
  }
  if (look.view === "scrub") how.set("at", look.at);
  if (look.zoom > 1) {
    how.set("zoom", look.zoom.toFixed(2));
    percents(["x", "y"]);
  }
  const queryString = `?${[shown.link, how.toString()].filter(Boolean).join("&")}`;
  if (queryString === location.search) return;
  history.replaceState(history.state, "", location.pathname + queryString);
  // A Space is shown within a page of the Hub, whose address is the one that people see.
  if (window.parent !== window) window.parent.postMessage({queryString}, "https://huggingface.co");
}

async function copyLink() {
  clearTimeout(timer);
  putLink();
  try {
    await navigator.clipboard.writeText(location.href);
  } catch { // No HTTPS, or not allowed within another page.
    const text = make("textarea", {}, location.href);
    viewer.append(text);
    text.select();
    document.execCommand("copy");
    text.remove();
  }
  copy.textContent = say("Copied");
  setTimeout(() => { copy.textContent = say("Copy link"); }, 2000);
}

watch("value", () => {
  shown = props.value?.entries?.length ? props.value : null;
  viewer.hidden = !shown;
  draw();
});
