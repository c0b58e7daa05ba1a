// The line about the run's training: ask for what has changed, show it, and let the page know about new epochs.
// Gradio calls this with `element`, `server` and `trigger`, and rewrites the line when the page shows another run.

const PAUSE_MS = 4000;
const line = () => element.querySelector('[data-run]');
let asking = false;

async function look() {
  const shown = line();
  if (asking || document.hidden || !shown) return;
  asking = true;
  try {
    const seen = {...shown.dataset}, now = await server.look({...seen, language: navigator.language});
    if (!now || shown !== line() || shown.dataset.run !== seen.run) return;
    shown.innerHTML = now.line;
    delete now.line;
    Object.assign(shown.dataset, now);
    if (now.epochs !== seen.epochs) trigger(seen.epochs ? 'arrived' : 'first');
    else if (now.details !== seen.details) trigger('moved');
    if (now.studies !== seen.studies) trigger('studied');
  } catch { // The app is away; it is asked again.
  } finally { asking = false; }
}
setInterval(look, PAUSE_MS);
document.addEventListener('visibilitychange', look);
