// The table of scores: sort the epochs by a column, pass on the row that was selected. Baselines keep their place in the
// head. Gradio calls this with `element`, `trigger` and `watch`, and rewrites the table when others are measured.

let column = 0, downward = false, chosen = '';
const name = row => JSON.stringify([row.dataset.run, row.dataset.epoch]);
const heads = () => [...element.querySelectorAll('.heads th')];

function value(row) {
  const found = row.children[column].dataset.value ?? (column ? undefined : row.dataset.value);
  return found === undefined ? null : Number(found);
}
function dress() {
  const body = element.querySelector('.scores tbody');
  if (!body) return;
  if (column >= heads().length) column = 0, downward = false;
  heads().forEach((head, place) =>
    head.setAttribute('aria-sort', place !== column ? 'none' : downward ? 'descending' : 'ascending'));
  const rows = [...body.rows].map((row, place) => [row, value(row), place]);
  rows.sort(([, a, i], [, b, j]) =>  // What wasn't measured comes last.
    a === null || b === null ? (a === null) - (b === null) || i - j : (downward ? b - a : a - b) || i - j);
  for (const [row] of rows) {
    body.append(row);
    row.classList.toggle('is-chosen', name(row) === chosen);
  }
}
element.addEventListener('click', event => {
  const head = event.target.closest('.heads th'), row = event.target.closest('tbody tr[data-epoch]');
  if (head) {
    const place = heads().indexOf(head);
    // The best come first, the other way round at the second click.
    downward = place === column ? !downward : head.dataset.better === 'higher';
    column = place;
    dress();
  } else if (row && element.querySelector('.scores').contains(row)) {
    chosen = name(row);
    dress();
    trigger('pick', {run: row.dataset.run, epoch: row.dataset.epoch});
  }
});
function start() {
  const table = element.querySelector('.scores');
  if (table) chosen = name(table);
  dress();
  const box = element.querySelector('.table'), row = element.querySelector('.is-chosen');
  if (!box || !row) return;
  const below = row.offsetTop + row.offsetHeight - box.clientHeight;
  if (below > box.scrollTop) box.scrollTop = below;  // A long table has a bar of its own; the page stays where it is.
}
watch('value', start);
start();
