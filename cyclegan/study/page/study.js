// The study that is played: its protocol and texts, as the server describes them.

import { call } from "./server.js";

export let about;

export async function loadStudy() {
  about = await call("about");
}

/** The kind of question: real, fake (of two), single, pick or tag. */
export function asked() {
  if (about.task !== "realness") return about.task;
  return about.presentation === "single" ? "single" : about.question;
}
