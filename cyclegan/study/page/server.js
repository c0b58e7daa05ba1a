// Requests to the server. A lost connection never loses a vote: every request is repeated until it is answered.

import { PATH, keep, session } from "./storage.js";
import { put, say } from "./words.js";

export class Refused extends Error {
  constructor(code, message, again) {
    super(message);
    this.code = code;
    this.again = again; // An earlier attempt of the same request may have arrived.
  }
}

export const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

// --- the notice of a lost connection ------------------------------------------------------------------------

/** The notice for each request that waits for the connection. */
const waits = new Map();
const WAIT = () => say("Please wait: the connection is interrupted. The study continues by itself, and nothing is lost.");
const WAIT_VOTE = () => say("Please wait: the connection is interrupted. Your answer is kept, and will be sent when the connection is back.");
const WAIT_SLOW = () => say("Please wait: the connection is slow, and the pictures are still loading.");
const WAIT_LONG = () => {
  const later = say("You can also close this page and open the same link later.");
  return `${WAIT()} ${later}`;
};

/** Show that a request waits for the connection, or, without a notice, that it no longer does. */
function wait(who, notice) {
  if (notice) waits.set(who, notice); else waits.delete(who);
  const element = document.getElementById("notice"), notices = [...waits.values()];
  const words = () => (notices.includes(WAIT_LONG) ? WAIT_LONG : notices[0])?.() ?? "";
  if (!words() || element.textContent !== words()) put(element, words); // Screen readers read it once.
}

// --- requests -----------------------------------------------------------------------------------------------

/** Ask the server until it answers. A picture's address works once, so its download gets a long time limit. */
export async function call(path, { body, notice = WAIT, picture = false } = {}) {
  const who = Symbol(path), began = performance.now();
  const headers = {};
  if (body) headers["Content-Type"] = "application/json";
  if (session.secret && !picture) headers.Authorization = `Bearer ${session.secret}`;
  const options = { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), cache: "no-store" };
  try {
    for (let tries = 0; ; tries++) {
      let pause = Math.min(8000, 400 * 2 ** Math.min(tries, 5));
      const abort = new AbortController();
      const timer = setTimeout(() => abort.abort(), picture ? 120000 : 20000);
      const slow = setTimeout(() => wait(who, picture ? WAIT_SLOW : notice), 4000);
      try {
        const response = await fetch(`${PATH}/${path}`, { ...options, signal: abort.signal });
        if (response.ok) return await (picture ? response.blob() : response.json());
        const refusal = await response.json();
        if (response.status < 500 && refusal.error && refusal.error !== "slow_down") {
          throw new Refused(refusal.error, refusal.message, tries > 0);
        }
        pause = Math.max(pause, 1000 * (Number(response.headers.get("Retry-After")) || 0));
      } catch (error) {
        if (error instanceof Refused) throw error; // All else is a failed connection, or a proxy's own page.
      } finally {
        clearTimeout(timer);
        clearTimeout(slow);
      }
      // The first failure is repeated without a notice, because most are over by then.
      if (tries) wait(who, performance.now() - began > 60000 ? WAIT_LONG : notice);
      let online;
      await Promise.race([
        sleep(pause * (0.75 + Math.random() / 2)), // Spread, or all participants come back at the same moment.
        new Promise(resolve => window.addEventListener("online", online = resolve)),
      ]);
      window.removeEventListener("online", online);
    }
  } finally {
    wait(who, null);
  }
}

/** Have a vote recorded. It is kept until the acknowledgement, so that a reload sends it again. */
export async function send(vote) {
  keep({ pending: vote });
  try {
    return await call("vote", { body: vote, notice: WAIT_VOTE });
  } finally {
    keep({ pending: null });
  }
}

// --- pictures -----------------------------------------------------------------------------------------------

const warm = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");

/** Fetch and decode a picture. */
async function fetchPicture(token) {
  const blob = await call(`stimulus/${encodeURIComponent(token)}`, { picture: true });
  try {
    const bitmap = await createImageBitmap(blob);
    warm.drawImage(bitmap, 0, 0, 1, 1); // Decode and upload it now, so that drawing it later takes one frame.
    return bitmap;
  } catch {
    throw new Refused("gone", "The picture was damaged on the way.", true);
  }
}

/** A state with its pictures loaded; `pictures` is null if they were seen already, or there are none. */
export async function prepare(state) {
  const who = Symbol("pictures");
  try {
    for (let tries = 0; ; tries++) {
      const trial = state.trial;
      if (!trial || trial.seen) return { state, pictures: null };
      const fetched = await Promise.allSettled([trial.left, trial.right].filter(Boolean).map(fetchPicture));
      const errors = fetched.filter(({ reason }) => reason).map(({ reason }) => reason);
      if (!errors.length) return { state, pictures: fetched.map(({ value }) => value) };
      fetched.forEach(({ value }) => value?.close());
      const final = errors.find(error => {
        if (!(error instanceof Refused)) return true;
        return !error.again && (error.code !== "not_found" || tries > 2);
      });
      if (final) throw final;
      if (tries) { // Repeated failures: the server has a problem.
        wait(who, WAIT);
        await sleep(Math.min(8000, 400 * 2 ** tries) * (0.75 + Math.random() / 2));
      }
      state = await call("session"); // An address works once, so all pictures get new ones.
    }
  } finally {
    wait(who, null);
  }
}
