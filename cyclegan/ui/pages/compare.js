// The viewer of the compare page: a matrix of pictures and epochs (compare_matrix.js), or one picture's tiles as a grid,
// two of them under a divider, one at a time, or without their names (compare_blind.js). The files form one script.
// Gradio calls this with `element` (what html_template became), `props` (`value`: what `matrix.compare` yields;
// `words`: translations of the texts here, by language) and `watch`. Names that a file or a visitor has given get into
// the page as text only.

const translated = props.words[navigator.language.slice(0, 2).toLowerCase()] ?? {};
const say = (text, values = {}) => (translated[text] ?? text).replace(/\{(\w+)\}/g, (_, name) => values[name]);
const VIEWS = {matrix: () => say("Matrix"), grid: () => say("Grid"), slider: () => say("Slider"),
               scrub: () => say("Scrub"), blind: () => say("Blind")};
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

const rows = () => [shown, ...(shown.more ?? [])]; // The pictures.
const row = () => rows()[look.row];
// One picture needs no matrix, and one epoch no ranking.
const offered = view => (view === "matrix" ? rows().length > 1 : view !== "blind" || shown.entries.length > 1);
const viewing = () => (offered(look.view) ? look.view : "grid");
// Where no entry has a way back, only the translations can be looked at; hidden ones are translations, too.
const showing = () => (shown.returns && viewing() !== "blind" ? look.show : "fake");
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
  row: number("row", 1) - 1, sorted: asked.get("sort") === "difference",
  from: number("from", NaN), gain: number("gain", 1), // The tile to subtract, 0 is the input; none: no difference.
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
const KEYS = say("The wheel or a pinch magnifies all tiles, a drag moves them. Keys: + and − magnify, 0 shows everything, arrows move; in Scrub ← → and space step through the epochs.");
const BLIND_KEYS = say("Keys: letters rank, + and − magnify, 0 shows everything, arrows move.");
const keys = make("span", {class: "keys", id: "viewer-keys"}, KEYS);
const which = make("select", {"aria-label": say("Picture"), change: event => change({row: Number(event.target.value)})});
viewer.append(
  make("div", {class: "tools"}, views, shows, zooms, full), make("div", {class: "tools extra"}, which), pair, walk, stage,
  make("div", {class: "below"}, keys, own, copy),
);
viewer.hidden = true;

// --- drawing -------------------------------------------------------------------------------------------------------

function change(changes) {
  Object.assign(look, changes);
  draw();
}

function draw() {
  if (!shown) return;
  look.row = clamp(Math.round(look.row), 0, rows().length - 1);
  if (viewing() === "blind") prepareBlind();
  const last = shown.entries.length, view = viewing();
  const bounded = tile => clamp(Math.round(tile), 0, last);
  [look.left, look.right, look.at] = [bounded(look.left), bounded(look.right), Math.max(1, bounded(look.at))];
  viewer.hidden = false;
  viewer.dataset.view = view;
  stage.style.setProperty("--aspect", row().width / row().height);
  stage.style.setProperty("--columns", [1, 1, 2, 3, 4, 3, 3, 4][last + 1] ?? 5);
  while (tiles.length > last + 1) tiles.pop().figure.remove();
  while (tiles.length < last + 1) tiles.push(newTile());
  tiles.forEach(drawTile);
  stage.append(over);

  for (const node of [...views.children, ...shows.children])
    node.setAttribute("aria-pressed", [view, showing()].includes(node.dataset.name));
  for (const node of views.children) node.hidden = !offered(node.dataset.name);
  shows.hidden = !shown.returns || view === "blind";
  zooms.hidden = stage.hidden = view === "matrix";
  which.hidden = rows().length < 2 || ["matrix", "blind"].includes(view);
  which.replaceChildren(...rows().map((each, n) => make("option", {value: n}, each.name)));
  which.value = look.row;
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
  drawMatrix();
  drawDifference();
  drawBlind();
  drawSplit();
  drawZoom();
  remember();
}

function newTile() {
  const img = make("img", {draggable: "false"});
  const wait = make("span", {class: "wait"});
  const title = make("b");
  const about = make("span", {class: "about"});
  const figures = make("span", {class: "figures"});
  const save = make("a", {class: "save", download: ""}, "↓");
  const values = make("a", {class: "values", download: ""});
  const mix = make("div", {class: "mix"}, img);
  const tile = {img, mix, wait, title, about, figures, save, values};
  const rank = button("", () => toggleRank(tile.entry), {class: "rank"});
  save.addEventListener("click", event => saveDifference(event, tile));
  tile.rank = rank;
  tile.figure = make("figure", {}, make("div", {class: "frame"}, mix, wait),
                     make("figcaption", {}, make("span", {class: "name"}, title, values, save), about, figures, rank));
  stage.append(tile.figure);
  return tile;
}

function drawTile(tile, n) {
  const hidden = viewing() === "blind";
  tile.entry = n ? (hidden ? blindEntry(n) : n - 1) : -1;
  const entry = n ? row().entries[tile.entry] : null;
  const url = hidden ? blindPicture(entry) : urlOf(row(), n);
  tile.name = !entry ? say("input") : hidden ? blindName(n, entry) : entry.label;
  tile.short = !entry ? "" : hidden ? LETTERS[n - 1] : String(entry.epoch);
  tile.figure.classList.toggle("left", n === look.left);
  tile.figure.classList.toggle("right", n === look.right && look.left !== look.right);
  tile.figure.classList.toggle("at", n === look.at);
  tile.title.textContent = tile.name;
  tile.about.textContent = !entry ? `${shown.here}, ${row().width}×${row().height}`
    : hidden ? "" : entry.created.slice(0, 16).replace("T", " ");
  const figures = [["l1", "L1", 1, Math.min], ["ssim", "SSIM", 3, Math.max]].filter(([key]) => !hidden && entry?.[key] != null);
  const parts = figures.flatMap(([key, name, digits, best], place) => {
    const all = row().entries.map(each => each[key]).filter(each => each != null);
    const isBest = new Set(all).size > 1 && entry[key] === best(...all);
    const said = key === "l1" && shown.range ? Number(entry[key].toPrecision(4)) : entry[key].toFixed(digits);
    const text = `${name} ${String(said).replace(/^-(?=[0.]+$)/, "")}`;
    return [place ? ", " : " ", make("span", isBest ? {class: "best", title: say("the best of these")} : {}, text)];
  });
  tile.figures.replaceChildren(...(parts.length ? [say("Way back:"), ...parts] : []));
  tile.figures.title = say("L1 and SSIM of the returned picture against the input: a lower L1 and a higher SSIM are better");
  if (shown.range) tile.figures.title += ` (${say("L1 in units of the range {low} to {high}", {low: shown.range[0], high: shown.range[1]})})`;
  const differs = hidden ? null : differenceOf(row(), n);
  if (differs) tile.figures.textContent = differenceSaid(row(), n);
  tile.mix.hidden = tile.save.hidden = !url;
  tile.save.hidden ||= hidden;
  drawValues(tile, hidden ? null : entry);
  tile.wait.hidden = Boolean(url);
  drawRank(tile, entry, n);
  if (url) {
    const what = entry ? SHOWS[showing()](shown) : shown.here;
    mixed(tile.mix, url, differs, differs ? `${tile.name}, ${differenceName()}` : `${tile.name}, ${what}`);
    if (hidden) tile.save.removeAttribute("href");
    else tile.save.href = url;
    tile.save.setAttribute("aria-label", say("Save {name}", tile));
    tile.save.title = say("Save {name}", tile);
  } else {
    tile.img.removeAttribute("src");
    tile.save.removeAttribute("href");
    tile.img.alt = "";
    const waits = hidden || (!entry.fake && !entry.error);
    tile.wait.classList.toggle("busy", waits);
    tile.wait.textContent = (hidden ? null : entry.error) ?? (waits ? say("waiting …") : say("No way back here"));
  }
}

// The file of a translation, or of a way back, with its values, where those aren't 8 bits.
function drawValues(tile, entry) {
  const file = {fake: entry?.fake_file, rec: entry?.rec_file}[showing()];
  tile.values.hidden = !file;
  if (!file) return tile.values.removeAttribute("href");
  tile.values.href = file;
  tile.values.textContent = file.slice(file.lastIndexOf("."));
  tile.values.title = say("Save {name} with its values", tile);
  tile.values.setAttribute("aria-label", tile.values.title);
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
  stage.classList.toggle("pixelated", look.zoom * frame?.clientWidth > PIXELATED_FROM * row().width);
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
  if (!pointers.size) dragged = {frame, splits: event.target === handle || (viewing() === "slider" && look.zoom === 1)};
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
  else if (viewing() === "scrub" && key in WALK) step(WALK[key]);
  else if (key in MOVES && look.zoom > 1) moveBy(...MOVES[key]);
  else return;
  event.preventDefault();
});
viewer.addEventListener("keydown", event => { // Wherever the focus is, such as on the button that chose this view.
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  if (viewing() === "blind" && rankByKey(event.key)) event.preventDefault();
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
  if (viewing() !== Object.keys(VIEWS).find(offered)) how.set("view", viewing());
  if (look.row && viewing() !== "matrix") how.set("row", look.row + 1);
  if (look.sorted && viewing() === "matrix") how.set("sort", "difference");
  if (subtracts()) {
    how.set("from", look.from);
    how.set("gain", look.gain);
  }
  if (showing() !== "fake") how.set("show", showing());
  const percents = names => names.forEach(name => how.set(name, (100 * look[name]).toFixed(1)));
  if (viewing() === "slider") {
    how.set("left", look.left);
    how.set("right", look.right);
    percents(["split"]);
  }
  if (viewing() === "scrub") how.set("at", look.at);
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
