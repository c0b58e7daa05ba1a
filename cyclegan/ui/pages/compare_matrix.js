// The matrix of the compare page, the differences that its cells and the tiles can show, and the time-lapse. Continues
// compare.js.

const corner = make("th", {scope: "col", class: "corner"}, button(say("Pictures"), () => change({sorted: !look.sorted}), {
  title: say("Sort by the mean difference between epochs, or as they came")}));
const heads = make("tr", {}, corner);
const body = make("tbody");
const matrix = make("div", {class: "matrix", role: "region", tabindex: 0, "aria-label": say("Pictures under epochs")},
                    make("table", {}, make("thead", {}, heads), body));
const measure = make("p", {class: "measure"}, say(
  "Difference of epochs: mean absolute difference between their translations of a picture, over all pairs of epochs, in grey levels (0 to 255)."));
stage.before(matrix, measure);

const GAINS = [1, 2, 4, 8];
const from = make("select", {change: event => change({from: event.target.value === "" ? NaN : Number(event.target.value)})});
const gains = make("div", {class: "choice", role: "group", "aria-label": say("Gain")},
                   ...GAINS.map(gain => button(`×${gain}`, () => change({gain}), {"data-gain": gain})));
const films = make("div", {class: "films"}, make("span"), ...["mp4", "gif"].map(kind => button(
  kind === "mp4" ? "mp4" : "GIF",
  () => trigger('film', {row: viewing() === "matrix" ? null : look.row, kind}), {class: "plain", "data-kind": kind})));
which.after(make("label", {class: "from"}, make("span", {}, say("Difference from")), from), gains, films);

// --- differences: the browser subtracts the pictures that it has --------------------------------------------------------

const urlOf = (each, n) => (n ? each.entries[n - 1][showing()] : each.input);
const subtracts = () => look.from >= 0 && showing() !== "lost" && viewing() !== "blind";
const nameOf = n => (n ? shown.entries[n - 1].label : say("input"));
const differenceName = () => say("difference from {name}, ×{gain}", {name: nameOf(look.from), gain: look.gain});

// The address of what is subtracted from a tile; null where the tile is shown as it is.
const differenceOf = (each, n) => (subtracts() && n !== look.from && urlOf(each, n) ? urlOf(each, look.from) : null);

function differenceSaid(each, n) {
  const value = showing() === "fake" ? each.differences?.[n]?.[look.from] : null;
  return value == null ? "" : say("Differs by {value}", {value: value.toFixed(1)});
}

// Show a picture, or its difference from another, multiplied by the gain.
function mixed(mix, url, other, alt) {
  const img = mix.lastChild;
  if (img.getAttribute("src") !== url) img.src = url;
  img.alt = alt;
  if (other && mix.childElementCount < 2) mix.prepend(make("img", {alt: "", draggable: "false"}));
  if (!other && mix.childElementCount > 1) mix.firstChild.remove();
  if (other && mix.firstChild.getAttribute("src") !== other) mix.firstChild.src = other;
  mix.classList.toggle("difference", Boolean(other));
}

function drawDifference() {
  if (!GAINS.includes(look.gain)) look.gain = 1;
  if (!(look.from <= shown.entries.length)) look.from = NaN;
  const others = viewing() === "blind" ? [] : [-1, ...shown.entries.keys()]; // Its page names no epoch.
  from.replaceChildren(make("option", {value: ""}, say("none")),
                       ...others.map(n => make("option", {value: n + 1}, nameOf(n + 1))));
  from.value = look.from >= 0 ? look.from : "";
  from.parentElement.hidden = viewing() === "blind" || showing() === "lost";
  gains.hidden = !subtracts();
  for (const node of gains.children) node.setAttribute("aria-pressed", Number(node.dataset.gain) === look.gain);
  viewer.style.setProperty("--gain", look.gain);
  films.hidden = viewing() === "blind" || !shown.done || shown.entries.length < 2;
  films.firstChild.textContent = viewing() === "matrix" ? say("Time-lapse of all pictures") : say("Time-lapse of this picture");
}

async function saveDifference(event, tile) {
  if (tile.mix.childElementCount < 2) return;
  event.preventDefault();
  const [other, img] = tile.mix.children;
  const canvas = make("canvas", {width: img.naturalWidth, height: img.naturalHeight});
  const pen = canvas.getContext("2d");
  pen.drawImage(other, 0, 0);
  pen.globalCompositeOperation = "difference";
  pen.drawImage(img, 0, 0);
  pen.globalCompositeOperation = "lighter"; // Each time twice as bright.
  for (let gain = 1; gain < look.gain; gain *= 2) pen.drawImage(canvas, 0, 0);
  const url = URL.createObjectURL(await new Promise(done => canvas.toBlob(done)));
  make("a", {href: url, download: `difference_x${look.gain}.png`}).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

// --- the matrix ----------------------------------------------------------------------------------------------------

let shape = "";

function drawMatrix() {
  matrix.hidden = measure.hidden = viewing() !== "matrix";
  const wanted = viewing() === "matrix" ? JSON.stringify([rows().map(each => each.input), shown.entries.map(each => each.label)]) : "";
  if (wanted !== shape) { // Elsewhere it is empty: names of epochs would be in a blind ranking's page.
    shape = wanted;
    heads.replaceChildren(corner, ...(wanted ? shown.entries.map(each => make("th", {scope: "col"}, each.label)) : []));
    body.replaceChildren(...(wanted ? rows().map((_, place) => newRow(place)) : []));
    matrix.style.setProperty("--epochs", shown.entries.length);
  }
  if (!wanted) return;
  corner.setAttribute("aria-sort", look.sorted ? "descending" : "none");
  const order = [...rows().keys()];
  if (look.sorted) order.sort((a, b) => (rows()[b].disagreement ?? -1) - (rows()[a].disagreement ?? -1) || a - b);
  const lines = [...body.children].sort((a, b) => a.dataset.place - b.dataset.place);
  order.forEach((place, at) => {
    const line = lines[place];
    if (body.children[at] !== line) body.insertBefore(line, body.children[at] ?? null);
    drawRow(line, rows()[place]);
  });
}

function newCell(act) {
  return button(make("div", {class: "mix"}, make("img", {draggable: "false"})), act);
}

function newRow(place) {
  const open = view => () => {
    change({row: place, view});
    stage.focus();
  };
  const first = make("th", {scope: "row"}, newCell(open("grid")), make("span", {class: "name"}), make("span", {class: "differs"}));
  const cells = shown.entries.map((_, n) => make("td", {}, newCell(() => {
    look.at = look.right = n + 1;
    open("grid")();
  }), make("span", {class: "wait"}), make("span", {class: "differs"})));
  return make("tr", {"data-place": place}, first, ...cells);
}

function drawRow(line, each) {
  line.style.setProperty("--aspect", each.width / each.height);
  [...line.children].forEach((cell, n) => {
    const url = urlOf(each, n), entry = each.entries[n - 1];
    cell.firstChild.hidden = !url;
    if (url) {
      const other = n ? differenceOf(each, n) : null; // The row's picture stays, or nobody knows which it is.
      mixed(cell.firstChild.firstChild, url, other, `${each.name}, ${nameOf(n)}${other ? `, ${differenceName()}` : ""}`);
    }
    if (n) {
      const wait = cell.querySelector(".wait"), waits = !entry.fake && !entry.error;
      wait.hidden = Boolean(url);
      wait.classList.toggle("busy", waits);
      wait.textContent = entry.error ?? (waits ? say("waiting …") : say("No way back here"));
      cell.querySelector(".differs").textContent = differenceOf(each, n) ? differenceSaid(each, n) : "";
    } else {
      cell.querySelector(".name").textContent = each.name;
      cell.querySelector(".differs").textContent = each.disagreement == null ? ""
        : say("Epochs differ by {value}", {value: each.disagreement.toFixed(1)});
    }
  });
}
