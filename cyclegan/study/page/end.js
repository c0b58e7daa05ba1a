// The last screen of a session: its code, the link back, and the score.

import { askQuestions } from "./asking.js";
import { bar, make, paragraph, screen, setProgress, title } from "./parts.js";
import { about } from "./study.js";
import { put, say } from "./words.js";

const HEADINGS = {
  done: () => say("Thank you!"),
  disqualified: () => say("Thank you for trying"),
  expired: () => say("The session has ended"),
};
const ENDS = {
  done: () => about.preview
    ? say("This was a preview: nothing was recorded. Load the page again to go through it once more.")
    : say("All your answers are stored."),
  disqualified: () => say("The second part requires more right answers in practice than you gave, so the study ends here."),
  expired: () => say("It was open for {n} hour from its start. Your answers up to then are stored.", "It was open for {n} hours from its start. Your answers up to then are stored.", { n: about.session_hours }),
};

export async function finish({ phase, score, code, url }) {
  setProgress(null);
  if (phase === "after") return finish(await askQuestions("after"));
  bar.style.transform = phase === "done" ? "scaleX(1)" : "";
  const parts = [title(HEADINGS[phase]), paragraph(ENDS[phase])];
  if (score) {
    parts.push(make("p", () => say("You were right once out of {of}.", "You were right {n} times out of {of}.", { n: score.correct, of: score.of }), { className: "score" }));
    if (about.task === "realness") {
      parts.push(make("p", () => say("Guessing is right about half the time."), { className: "soft" }));
    }
  }
  if (code) parts.push(make("h2", () => say("Your completion code")), codeLine(code));
  if (!url && !about.preview) parts.push(make("p", () => say("You can close this page now."), { className: "soft" }));
  const host = url && new URL(url).host;
  const links = url ? [{ href: url, words: () => say("Finish at {host}", { host }) }] : [];
  // A preview is at study/_preview/NAME of the app that has the page.
  if (about.preview) links.push({ href: `../../studies?study=${encodeURIComponent(about.name)}`, words: () => say("Back to the study's page") });
  if (url) return goBack(url, parts, links[0]);
  await screen(parts, links);
}

const BACK_S = 10;

/** Return to the site that sent the participant, by itself unless they stay. */
async function goBack(url, parts, link) {
  const host = new URL(url).host, line = make("p", null, { className: "soft", id: "countdown" });
  let left = BACK_S;
  put(line, () => left ? say("You return to {host} in {n} second.", "You return to {host} in {n} seconds.", { n: left, host }) : "");
  const timer = setInterval(() => {
    if (document.hidden) return; // Nobody is moved away from a page that they don't see.
    left -= 1;
    put(line, line.words);
    if (left) return;
    clearInterval(timer);
    try { window.top.location.href = url; } catch { /* A frame may not be allowed to leave its page; the link may. */ }
  }, 1000);
  await screen([...parts, line], [{ words: () => say("Stay here") }, link]);
  clearInterval(timer);
  await screen(parts, [link]);
}

/** The completion code, with a button that copies it. */
export function codeLine(code) {
  const shown = make("code", null, { textContent: code, id: "code" });
  const copy = make("button", () => say("Copy"), { type: "button", className: "small" });
  copy.addEventListener("click", async () => {
    let done = true;
    try { await navigator.clipboard.writeText(code); } catch {
      getSelection().selectAllChildren(shown);
      done = document.execCommand("copy");
    }
    put(copy, done ? () => say("Copied") : () => say("Select and copy it"));
  });
  const line = make("div", null, { className: "code" });
  line.append(shown, copy);
  return line;
}
