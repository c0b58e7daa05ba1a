// A session, from its beginning to the last screen.

import { ownText } from "./agreement.js";
import { finish } from "./end.js";
import { period } from "./exposure.js";
import { paragraph, screen, setProgress, setSaid, title } from "./parts.js";
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
      participant: PARTICIPANT, key: session.key, language, consent: about.consent && ownText().sha256,
      screen: { width, height, dpr: devicePixelRatio, refresh_hz },
    },
  });
  keep({ secret, agreed: about.consent && new Date().toISOString() });
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
