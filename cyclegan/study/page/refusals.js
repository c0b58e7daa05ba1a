// The sentences for the server's refusals, by their codes, and for links that lead nowhere.

import { contactLine } from "./consent.js";
import { paragraph, screen, setProgress, title } from "./parts.js";
import { about } from "./study.js";
import { isTranslated, say } from "./words.js";

const REFUSALS = {
  taken: () => about?.login
    ? say("This account already takes part, in another browser or on another device: continue there.")
    : say("This link was already used, in another browser or on another device: continue there."),
  too_many: () => say("Too many attempts: wait a few minutes, then load the page again."),
  closed: () => say("This session is over. Thank you for taking part."),
  not_found: () => say("There is no study at this address: ask for the link again."),
  other_study: () => say("The link names a different study: ask for the link again."),
  bad_participant: () => say("The participant id in the link can't be used: ask for the link again."),
  preview: () => say("This is a preview. Accept the task first; then open it from there."),
  not_invited: () => say("This study is by invitation: open the link that was sent to you."),
  no_login: () => say("This study requires a Hugging Face account, and this server can't log you in: open the study on its Space."),
  login_needed: () => say("You are no longer logged in: load the page again."),
  no_session: () => say("The session can't be found any more: load the page to begin again."),
  late: () => say("The time for this session is over."),
  no_consent: () => say("Nobody takes part without having agreed. Load the page again to read the consent."),
  failed: () => say("Something went wrong. Load the page again: it continues where you stopped."),
};
const RELOAD = ["no_session", "login_needed", "too_many", "no_consent", "failed"];

/** Refusals that another window causes, and those after which the server is asked for the session's state. */
export const ELSEWHERE = ["stale_token", "gone", "out_of_order"];
export const ASK_AGAIN = ["not_revealed", "bad_answer", "late", "closed"];

/** Show why the study can't continue. An unknown code shows the server's message, which is in English. */
export async function stop(code, message) {
  setProgress(null);
  const known = code in REFUSALS;
  const words = known ? REFUSALS[code] : () => !isTranslated() && message || REFUSALS.failed();
  const contact = ["taken", "not_invited"].includes(code) && about?.contact ? [contactLine()] : [];
  const reload = !known || RELOAD.includes(code);
  await screen([title(() => say("Sorry")), paragraph(words), ...contact],
    reload ? [{ words: () => say("Load the page again"), main: true }] : []);
  location.reload();
}
