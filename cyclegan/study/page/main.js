// The page of a study: consent, instructions, practice, test, thanks. Nothing here knows which picture is real:
// only the server does.

import { showReread } from "./agreement.js";
import { askQuestions } from "./asking.js";
import { consent, instructions } from "./consent.js";
import { blank } from "./exposure.js";
import { makeRoom } from "./layout.js";
import { paragraph, screen, setProgress, title } from "./parts.js";
import { ASK_AGAIN, ELSEWHERE, stop } from "./refusals.js";
import { Refused, call } from "./server.js";
import { begin, resume, run } from "./session.js";
import { LINK, PARTICIPANT, keep, openSession, session } from "./storage.js";
import { about, loadStudy } from "./study.js";
import { makeTrial } from "./trial.js";
import { language, makeLanguageButton, put, say, setLanguage } from "./words.js";

async function main() {
  makeLanguageButton(document.getElementById("language"));
  setProgress(null);
  const words = setLanguage(language);
  await loadStudy().finally(() => words); // Both at once; a refusal needs words, too.
  if (about.preview) {
    const mark = document.getElementById("preview");
    put(mark, () => say("Preview: nothing is recorded."));
    mark.hidden = false;
  }
  if (LINK.has("study") && LINK.get("study") !== about.name) return stop("other_study");
  if (LINK.get("assignmentId") === "ASSIGNMENT_ID_NOT_AVAILABLE") return stop("preview");
  if (about.invitation && !PARTICIPANT) return stop("not_invited");
  if (!about.preview) openSession(about.login?.user ? `hf:${about.login.user}` : PARTICIPANT);
  makeTrial();
  await blank(300); // Measures the period of a frame.
  let state = await resume();
  if (!state && about.login && !about.login.user) return logIn();
  // Before anybody has to read and agree to anything.
  if (!state && (PARTICIPANT || about.login)) {
    await call("check", { body: { participant: PARTICIPANT, key: session.key } });
  }
  if (!state) {
    await makeRoom(true); // A larger screen may be another device, on which a session that had begun couldn't continue.
    await consent();
    // The server's clock keeps when; otherwise the session begins with its first trial.
    if (about.consent || about.questions.some(({ when }) => when === "before")) state = await begin();
  }
  showReread();
  if (state?.phase === "before") state = await askQuestions("before");
  const first = state?.number === 1 && state.phase === (about.practice_trials ? "practice" : "test");
  const unplayed = !state || Boolean(first && state.trial && !state.trial.seen);
  if (unplayed) await instructions();
  return playToTheEnd(state, !unplayed);
}

function logIn() {
  if (!about.login.url) return stop("no_login");
  return screen([
    title(() => say("Log in to take part")),
    paragraph(() => say("This study requires a Hugging Face account. You return here after you have logged in.")),
  ], [{ href: about.login.url, words: () => say("Log in with Hugging Face"), main: true }]);
}

/** Play the session; after a refusal that leaves it open, continue from the server's state. */
async function playToTheEnd(state, greet) {
  for (let refusals = 0; ;) {
    try {
      state ??= await begin();
      return await run(state, greet);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (ELSEWHERE.includes(error.code) && session.secret) {
        await screen([
          title(() => say("The study continues in another window")),
          paragraph(() => say("You have opened it a second time. Close this window, or continue here.")),
        ], [{ words: () => say("Continue here"), main: true }]);
        refusals = 0;
      } else if (!ASK_AGAIN.includes(error.code) || !session.secret || ++refusals > 3) {
        if (error.code === "no_session") keep({ secret: null, key: null });
        return stop(error.code, error.message);
      }
      state = await call("session");
      greet = false;
    }
  }
}

main().catch(error => {
  if (!(error instanceof Refused)) console.error(error);
  return stop(error instanceof Refused ? error.code : "failed", error.message);
});
