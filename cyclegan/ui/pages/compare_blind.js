// The blind view of the compare page: a picture's translations under letters, in an order of its own, until they are
// ranked. Nothing in the page names an epoch then: pictures get new addresses, and lose what their files say about them.
// Continues compare_matrix.js.

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
let blind = null; // {order, ranks: by picture, revealed}. Ranks are by entry, 1 is the best, null isn't ranked yet.
let neutral = new Map(); // Addresses of copies without a name, by the files' own addresses.

const status = make("p", {class: "said", role: "status"});
const [earlier, later] = [-1, 1].map(by => button(by < 0 ? say("Previous picture") : say("Next picture"),
                                                  () => turn({row: look.row + by}), {class: "plain"}));
const equal = button(say("The rest are equal"), () => rankRest(), {class: "plain"});
const anew = button(say("Undo this picture"), () => {
  ranks().fill(null);
  turn({});
}, {class: "plain"});
const reveal = button(say("Show my ranking"), () => showRanking(), {class: "plain reveal"});
const again = button(say("Rank again"), () => {
  forgetBlind();
  turn({row: 0});
}, {class: "plain"});
const bar = make("div", {class: "ranking"}, status, make("div", {class: "tools"}, earlier, later, equal, anew, reveal, again),
                 make("p", {class: "private"}, say("Your ranking is for you alone: nothing of it is recorded.")));
stage.before(bar);

// The button that was pressed may be gone or unusable then, and its focus with it.
function turn(changes) {
  change(changes);
  stage.focus();
}

const complete = all => all.every(rank => rank !== null);
const ranks = () => blind.ranks[look.row];
const settled = () => shown.done || shown.stopped;
// Hidden until all of them are there, or the ones that come last would be known.
const ready = () => settled() && rows().every(each => each.entries.every(entry => entry.fake));

function prepareBlind() {
  if (blind || !ready()) return;
  const order = rows().map(each => shuffled([...each.entries.keys()]));
  blind = {order, ranks: order.map(each => each.map(() => null)), revealed: false};
  hideNames(blind);
}

function shuffled(all) { // Fisher and Yates.
  for (let n = all.length - 1; n > 0; n--) {
    const other = Math.floor(Math.random() * (n + 1));
    [all[n], all[other]] = [all[other], all[n]];
  }
  return all;
}

// Copy the translations through a canvas: the files' names and their metadata name the epoch.
async function hideNames(wanted) {
  const urls = rows().flatMap(each => each.entries.map(entry => entry.fake));
  const copies = await Promise.all(urls.map(async url => {
    const img = make("img", {src: url});
    await img.decode();
    const canvas = make("canvas", {width: img.naturalWidth, height: img.naturalHeight});
    canvas.getContext("2d").drawImage(img, 0, 0);
    return [url, URL.createObjectURL(await new Promise(done => canvas.toBlob(done)))];
  }));
  if (blind !== wanted) {
    copies.forEach(([, copy]) => URL.revokeObjectURL(copy));
    return;
  }
  neutral = new Map(copies);
  draw();
}

function forgetBlind() {
  if (blind?.revealed) trigger('ranked', {ranks: []});
  neutral.forEach(copy => URL.revokeObjectURL(copy));
  neutral = new Map();
  blind = null;
}

const blindEntry = n => (blind ? blind.order[look.row][n - 1] : n - 1);
const blindPicture = entry => (entry ? neutral.get(entry.fake) : shown && row().input);
const blindName = (n, entry) => (blind?.revealed ? `${LETTERS[n - 1]}: ${entry.label}` : say("Picture {letter}", {letter: LETTERS[n - 1]}));

function drawRank(tile, entry, n) {
  const hidden = viewing() === "blind";
  tile.rank.hidden = !hidden || !entry || !neutral.size;
  if (tile.rank.hidden) return;
  const rank = ranks()[tile.entry], letter = LETTERS[n - 1];
  tile.rank.textContent = rank ?? (ranks().some(each => each !== null) ? say("Next best") : say("Best"));
  tile.rank.setAttribute("aria-label", rank ? say("{letter}: place {rank}", {letter, rank}) : say("Rank {letter}", {letter}));
  tile.rank.setAttribute("aria-pressed", rank !== null);
  tile.rank.disabled = blind.revealed;
}

function drawBlind() {
  const hidden = viewing() === "blind";
  bar.hidden = !hidden;
  keys.textContent = hidden ? BLIND_KEYS : viewing() === "matrix" ? "" : KEYS;
  if (!hidden) return;
  const able = Boolean(blind && neutral.size), open = able && !blind.revealed;
  const done = able ? blind.ranks.filter(complete).length : 0;
  earlier.disabled = look.row < 1;
  later.disabled = look.row >= rows().length - 1;
  equal.disabled = !open || complete(ranks());
  anew.disabled = !open || ranks().every(rank => rank === null);
  reveal.disabled = !open || !done;
  later.classList.toggle("go", open && complete(ranks()) && !later.disabled);
  reveal.classList.toggle("go", open && done === rows().length);
  again.hidden = !able || !blind.revealed;
  equal.hidden = anew.hidden = reveal.hidden = able && blind.revealed;
  status.textContent = blindSaid(able, done);
}

function blindSaid(able, done) {
  const values = {n: look.row + 1, count: rows().length, done};
  if (!able) return settled() && !ready() ? say("Ranking takes a translation of every picture by every epoch.") : say("The epochs stay hidden until all pictures are there …");
  if (blind.revealed) return say("Picture {n} of {count}. Your ranking is below.", values);
  if (!complete(ranks())) return say("Picture {n} of {count}: choose the best translation first, then the next best.", values);
  return say("Picture {n} of {count} is ranked; {done} of {count} are.", values);
}

function toggleRank(entry) {
  const all = ranks(), was = all[entry];
  if (was === null) {
    all[entry] = 1 + all.filter(rank => rank !== null).length;
    const left = all.flatMap((rank, n) => (rank === null ? [n] : []));
    if (left.length === 1) all[left[0]] = all.length;
  } else { // Those after it move up.
    all.forEach((rank, n) => { if (rank !== null && rank >= was) all[n] = n === entry ? null : rank - (rank > was); });
  }
  draw();
}

function rankRest() {
  const all = ranks(), rank = 1 + all.filter(each => each !== null).length;
  all.forEach((each, n) => { all[n] = each ?? rank; });
  turn({});
}

function rankByKey(key) {
  const place = LETTERS.indexOf(key.toUpperCase());
  if (!blind || blind.revealed || !neutral.size || key.length > 1 || place < 0 || place >= ranks().length) return false;
  const entry = blind.order[look.row][place], all = ranks();
  // Who types the whole ranking names the last one, too, which has its place already.
  if (!complete(all) || all[entry] < all.length) toggleRank(entry);
  return true;
}

function showRanking() {
  blind.revealed = true;
  trigger('ranked', {ranks: blind.ranks.filter(complete)});
  turn({});
}

let latest = null; // The visitor's picture.
watch("value", () => {
  shown = props.value?.entries?.length ? props.value : null;
  if (latest && shown && shown.input !== latest) look.row = 0; // The visitor has chosen another picture.
  latest = shown?.input ?? latest;
  forgetBlind();
  viewer.hidden = !shown;
  draw();
});
