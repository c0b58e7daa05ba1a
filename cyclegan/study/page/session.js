// A session, from its beginning to the last screen.

import { period } from "./exposure.js";
import { bar, make, paragraph, screen, setProgress, setSaid, title } from "./parts.js";
import { Refused, call, prepare, send } from "./server.js";
import { PARTICIPANT, keep, session } from "./storage.js";
import { about } from "./study.js";
import { afterPractice, play, showFeedback, showTrial } from "./trial.js";
import { language, put, say } from "./words.js";

export async function begin() {
  if (!session.key) {
    keep({ key: [...crypto.getRandomValues(new Uint8Array(16))].map(b => b.toString(16).padStart(2, "0")).join("") });
  }
  const { width, height } = window.screen, refresh_hz = Math.round(10000 / period) / 10;
  const { secret, state } = await call("session", {
    body: {
      participant: PARTICIPANT, key: session.key, language,
      screen: { width, height, dpr: devicePixelRatio, refresh_hz },
    },
  });
  keep({ secret });
  return state;
}

/** The state of the session that this browser has begun; null if there is none. */
export async function resume() {
  if (!session.secret) return null;
  if (session.pending) {
    try { await send(session.pending); } catch (error) { if (!(error instanceof Refused)) throw error; }
  }
  try {
    return await call("session");
  } catch (error) {
    if (!(error instanceof Refused && error.code === "no_session")) throw error;
    keep({ secret: null, key: null });
    return null;
  }
}

const toContinue = (heading, words) => screen([title(heading), paragraph(words)]);

/** Play from a state to the end. */
export async function run(state, greet) {
  let next = prepare(state);
  let phase = null;
  for (;;) {
    next.catch(() => {}); // It is thrown where it is awaited.
    if (!state.trial) return finish(state);
    if (greet) {
      await toContinue(() => say("Welcome back"), () => state.phase === "test"
        ? say("You stopped at {number} of {of}. Continue when you are ready.", state)
        : say("You stopped in practice, at {number} of {of}. Continue when you are ready.", state));
    } else if (phase === "practice" && state.phase === "test") {
      setProgress(null);
      await toContinue(() => say("Practice is over"), () => afterPractice(state.of));
    }
    greet = false;
    phase = state.phase;
    showTrial(state);
    const late = setTimeout(() => setSaid(() => say("Loading…")), 500);
    let ready;
    try { ready = await next; } finally { clearTimeout(late); }
    state = ready.state;
    if (document.hidden && !state.trial?.seen) {
      await toContinue(() => say("Paused"), () => say("The page was in the background. Continue when you are ready."));
    }
    if (!state.trial) return finish(state);
    showTrial(state);
    try {
      const ack = await play(ready);
      state = ack.next;
      next = prepare(state); // While the participant reads the feedback.
      next.catch(() => {});
      if (ack.feedback) await showFeedback(ack.feedback, ready.pictures);
    } finally { ready.pictures?.forEach(bitmap => bitmap.close()); }
  }
}

// --- the last screen ----------------------------------------------------------------------------------------

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

async function finish({ phase, score, code, url }) {
  setProgress(null);
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
function codeLine(code) {
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
