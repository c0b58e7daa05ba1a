// The list of epochs: fetch the thumbnails of cards in sight, pass on the choice, collect the ticked epochs.
// Gradio calls this with `element`, `server`, `trigger` and `watch`. It rewrites the cards in place when the list
// changes, so everything is put on them again.

const pictures = new Map(), ticked = new Set(), waiting = new Set();
let run = null, fetching = 0;
const list = () => element.querySelector('.epochs');
const cards = () => [...element.querySelectorAll('.epoch-card')];
const key = card => JSON.stringify([run, card.dataset.epoch, card.dataset.sha]);

function hang(card) {
  const found = pictures.get(key(card));
  if (found === undefined) return false;
  const images = [...card.querySelectorAll('img')].filter(image => {
    const source = (found || {})[image.dataset.direction];
    image.hidden = !source;
    if (source && image.getAttribute('src') !== source) image.src = source;
    return source;
  });
  card.dataset.pictures = found === null ? 'failed' : images.length ? 'here' : 'none';
  return true;
}
async function next() {
  if (fetching >= 3 || !waiting.size) return;
  const card = waiting.values().next().value;
  waiting.delete(card);
  if (!card.isConnected || hang(card)) return next();
  const name = key(card);
  fetching++;
  try {
    pictures.set(name, await server.thumbnails({run, epoch: card.dataset.epoch}));
  } catch { pictures.set(name, null); }
  fetching--;
  cards().forEach(hang);
  next();
}
const sight = new IntersectionObserver(entries => {
  for (const {target, isIntersecting} of entries)
    if (!isIntersecting) waiting.delete(target);
    else if (!hang(target)) { waiting.add(target); next(); }
}, {rootMargin: '200px'});

function count() {
  const link = element.querySelector('.go'), {least, most} = list().dataset;
  const names = [...ticked].sort().map(tag => encodeURIComponent(run + '@' + tag));
  const enough = names.length >= least && names.length <= most;
  if (enough) link.href = 'compare?entries=' + names.join(',');
  else link.removeAttribute('href');
  link.hidden = !enough;
  element.querySelector('.tick-hint').hidden = enough;
  for (const box of element.querySelectorAll('.tick input'))
    box.disabled = !box.checked && ticked.size >= most;
}
function dress() {
  if (!list()) return;
  if (list().dataset.run !== run) { run = list().dataset.run; ticked.clear(); waiting.clear(); }
  for (const card of cards()) {
    card.querySelector('.tick input').checked = ticked.has(card.dataset.epoch);
    if (hang(card)) continue;
    delete card.dataset.pictures;
    sight.unobserve(card);
    sight.observe(card);
  }
  count();
}
element.addEventListener('change', event => {
  const card = event.target.closest('.epoch-card');
  if (!card || !event.target.matches('.tick input')) return;
  ticked[event.target.checked ? 'add' : 'delete'](card.dataset.epoch);
  count();
});
element.addEventListener('click', event => {
  const button = event.target.closest('button.show');
  if (!button) return;
  trigger('pick', {epoch: button.closest('.epoch-card').dataset.epoch});
  document.querySelector('.chosen').scrollIntoView({block: 'start'});
});
watch('value', dress);
dress();
