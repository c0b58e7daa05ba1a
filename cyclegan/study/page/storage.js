// The address of the page, and the data that stays in this browser.

export const PATH = location.pathname.replace(/\/+$/, "");
const NAME = decodeURIComponent(PATH.split("/").pop());
export const LINK = new URLSearchParams(location.search);
export const PARTICIPANT = LINK.get("invitation") || LINK.get("participant") || LINK.get("PROLIFIC_PID") || LINK.get("workerId") || null;
const STORES = [() => localStorage, () => sessionStorage];

/** Read a value, or write it, in any storage that this browser allows the page to use. */
export function remember(key, value) {
  key = `study:${key}`;
  for (const store of STORES) {
    try {
      if (value !== undefined) return store().setItem(key, JSON.stringify(value));
      const found = store().getItem(key);
      if (found !== null) return JSON.parse(found);
    } catch { /* No storage in this frame: try the next. */ }
  }
  let kept = {};
  try { kept = JSON.parse(window.name) ?? {}; } catch { /* Another page's name. */ }
  if (value !== undefined) window.name = JSON.stringify({ ...kept, [key]: value });
  return kept[key];
}

let place = null;
/** {secret, key, pending}: proof of the session, the key that it was begun with, a vote without acknowledgement. */
export let session = {};

/** Load the participant's session in this study. Without this call, as in a preview, nothing is written. */
export function openSession(participant) {
  place = `${NAME}:${participant ?? ""}`;
  session = remember(place) ?? {};
}

export function keep(changes) {
  session = { ...session, ...changes };
  if (place) remember(place, session);
}
