// A visitor's video and its translation, playing together: split by a divider, or side by side.
// Gradio calls this with `element` (what html_template became), `props` (`value`: what `jobs.compared` returns, or null;
// `words`: translations of the texts here, by language) and `watch`.

const translated = props.words[navigator.language.slice(0, 2).toLowerCase()] ?? {};
const say = (text, values = {}) => (translated[text] ?? text).replace(/\{(\w+)\}/g, (_, name) => values[name]);
const MOST_APART_S = 0.06; // A video that has drifted further from the other is put back.

function make(tag, attributes = {}, ...inside) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value);
  }
  node.append(...inside);
  return node;
}

const player = element.querySelector(".player");
const video = attributes => make("video", {playsinline: "", preload: "auto", ...attributes});
const given = video({"aria-label": say("Your video"), error: giveUp});
const made = video({"aria-label": say("Translated video"), error: giveUp});
given.muted = true; // The translation has its sound.
const button = (text, act, attributes = {}) => make("button", {type: "button", click: act, ...attributes}, text);
const range = (label, act, attributes) => make("input", {type: "range", "aria-label": label, input: act, ...attributes});

const VIEWS = {split: say("Split"), side: say("Side by side")};
const views = make("div", {class: "choice", role: "group", "aria-label": say("How to look")},
                   ...Object.entries(VIEWS).map(([name, text]) => button(text, () => show(name), {"data-name": name})));
const play = button("", () => (made.paused ? start() : made.pause()), {class: "plain play"});
const time = range(say("Time"), () => goTo(Number(time.value)), {min: 0, step: "any", class: "time"});
const clock = make("span", {class: "clock"});
const divider = range(say("Divider between your video and its translation"), () => split(), {min: 0, max: 100, value: 50, class: "divider"});
const stage = make("div", {class: "stage"}, given, made, divider, make("i", {class: "line", "aria-hidden": "true"}));
const save = make("a", {class: "save", download: ""}, say("Save the translation"));
const both = make("a", {class: "save", download: ""}, say("Save both, side by side"));
player.append(
  make("div", {class: "tools"}, views),
  stage,
  make("div", {class: "names", "aria-hidden": "true"}, make("span", {}, say("Your video")), make("span", {}, say("Translated video"))),
  make("div", {class: "transport"}, play, time, clock),
  make("div", {class: "saves"}, save, both),
);

function giveUp() { // The page's plain players show what this browser can play.
  player.hidden = true;
}

function show(view) {
  player.dataset.view = view;
  for (const node of views.children) node.setAttribute("aria-pressed", node.dataset.name === view);
}

function split() {
  stage.style.setProperty("--split", `${divider.value}%`);
  divider.setAttribute("aria-valuetext", `${say("Your video")} ${divider.value}%`);
}

const minutes = seconds => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

function drawTime() {
  const end = Number.isFinite(made.duration) ? made.duration : 0;
  time.max = end;
  time.value = made.currentTime;
  clock.textContent = `${minutes(made.currentTime)} / ${minutes(end)}`;
  time.setAttribute("aria-valuetext", clock.textContent);
  play.textContent = made.paused ? `▶ ${say("Play")}` : `❚❚ ${say("Pause")}`;
}

function goTo(seconds) {
  made.currentTime = given.currentTime = seconds;
  drawTime();
}

function start() {
  if (made.ended) goTo(0); // Both, or the visitor's would begin at its own end.
  for (const each of [given, made]) each.play().catch(() => {}); // Interrupted by a pause.
}

function together() {
  if (made.paused) return;
  if (!given.seeking && Math.abs(given.currentTime - made.currentTime) > MOST_APART_S && made.currentTime < given.duration)
    given.currentTime = made.currentTime;
  drawTime();
  requestAnimationFrame(together);
}

made.addEventListener("play", () => { drawTime(); together(); });
made.addEventListener("pause", () => { given.pause(); given.currentTime = made.currentTime; drawTime(); });
for (const event of ["loadedmetadata", "durationchange", "seeked", "ended"]) made.addEventListener(event, drawTime);
made.addEventListener("loadedmetadata", () => player.style.setProperty("--aspect", made.videoWidth / made.videoHeight));

function draw() {
  const value = props.value;
  player.hidden = !value;
  for (const each of [given, made]) each.pause();
  if (!value) {
    for (const each of [given, made]) { each.removeAttribute("src"); each.load(); }
    return;
  }
  given.src = value.given;
  made.src = save.href = value.made;
  both.hidden = !value.both;
  both.href = value.both ?? "";
  drawTime();
}

show("split");
split();
watch("value", draw);
draw();
