// The screens before the first trial: consent and instructions.

import { agreeBox, ownWords } from "./agreement.js";
import { codeLine } from "./end.js";
import { keyWords } from "./keys.js";
import { isStacked } from "./layout.js";
import { make, paragraph, screen, title } from "./parts.js";
import { call } from "./server.js";
import { PARTICIPANT } from "./storage.js";
import { about, asked } from "./study.js";
import { say } from "./words.js";

// --- consent ------------------------------------------------------------------------------------------------

const WHAT = {
  real: n => say("You will see {n} pair of pictures and decide which one is real.", "You will see {n} pairs of pictures and decide each time which one is real.", { n }),
  fake: n => say("You will see {n} pair of pictures and decide which one is fake.", "You will see {n} pairs of pictures and decide each time which one is fake.", { n }),
  single: n => say("You will see {n} picture, and decide whether it is real or fake.", "You will see {n} pictures, one at a time, and decide for each whether it is real or fake.", { n }),
  pick: n => say("You will see {n} pair of pictures and decide which one looks more real.", "You will see {n} pairs of pictures and decide each time which one looks more real.", { n }),
  tag: n => say("You will see {n} picture that a computer has made, and mark what is wrong with it.", "You will see {n} pictures that a computer has made, and mark what is wrong with them.", { n }),
  rate: n => say("You will see {n} picture and rate how good it is.", "You will see {n} pictures, one at a time, and rate how good each of them is.", { n }),
};
const STORED_LOGIN = () => say("Your answers, how long they took and how long each picture was on the screen; the size of your screen, of the window and of the pictures; the language of this page; your Hugging Face user name.");
const STORED_LINK = () => say("Your answers, how long they took and how long each picture was on the screen; the size of your screen, of the window and of the pictures; the language of this page; the participant id in your link.");
const STORED_RANDOM = () => say("Your answers, how long they took and how long each picture was on the screen; the size of your screen, of the window and of the pictures; the language of this page; a random id, kept in this browser, instead of a name.");
const ADDRESS = () => say("Your internet address is kept only as a salted hash, and only for a day.");
const ADDRESS_CODE = () => say("Your internet address is kept only as a salted hash, and only for a day. A short code of it, which thousands of addresses share, is kept with your answers, to notice if somebody takes part twice.");
const NO_COOKIES = () => say("This page sets no cookies.");

/** A rough estimate of how long the study takes. */
function duration() {
  const { practice_trials: practice, test_trials: test, exposure_ms: exposure } = about;
  const answer = about.task === "tag" ? 15000 : exposure ? 2000 : 4000;
  const each = (about.presentation === "sequence" ? 2 : 1) * (about.blank_ms + exposure) + answer;
  const n = Math.max(1, Math.round(((practice + test) * each + practice * about.feedback_ms) / 60000));
  return say("It takes about a minute.", "It takes about {n} minutes.", { n });
}

/** The person to contact. */
export function contactLine() {
  if (!about.contact) {
    return paragraph(() => say("If you have questions, or want your answers deleted, contact the person who gave you the link."));
  }
  const mail = /^[^\s@<>]+@[^\s@<>]+\.[^\s@<>]+$/.test(about.contact), line = make("p");
  line.append(make("span", () => say("For questions, or to have your answers deleted:")), " ", mail
    ? make("a", () => about.contact, { href: `mailto:${about.contact}` }) : make("span", () => about.contact));
  return line;
}

/** Ask for consent until it is given; the owner's words come first. */
export async function consent() {
  const count = about.practice_trials + about.test_trials, box = about.consent && agreeBox();
  for (;;) {
    document.body.dataset.consent = "yes"; // Enter alone must not agree.
    const agreed = await screen([
      title(() => say("Would you like to take part?")),
      ...about.consent ? [...ownWords(), make("h2", () => say("What you will do"))] : [],
      paragraph(() => `${WHAT[asked()](count)} ${duration()}`),
      make("h2", () => say("What is stored")),
      paragraph(about.login ? STORED_LOGIN : PARTICIPANT ? STORED_LINK : STORED_RANDOM),
      ...about.questions.length ? [paragraph(() => say("The study also asks you a question, whose answer is stored, too.", "The study also asks you {n} questions, whose answers are stored, too.", { n: about.questions.length }))] : [],
      paragraph(() => [about.address_code ? ADDRESS_CODE() : ADDRESS(), ...about.login ? [] : [NO_COOKIES()]].join(" ")),
      make("h2", () => say("Your choice")),
      paragraph(() => say("Taking part is voluntary. You can stop at any time by closing the page; the answers given so far are kept unless you ask for them to be deleted.")),
      contactLine(),
      ...box ? [box.element] : [],
    ], [
      { words: () => say("No, thanks"), value: false },
      box ? { words: () => say("I take part"), value: true, main: true, check: box.check }
        : { words: () => say("I am 18 or older and take part"), value: true, main: true },
    ]);
    delete document.body.dataset.consent;
    if (agreed) return;
    await decline();
  }
}

/** The screen of those who don't take part; their code, if the owner has one for them. */
async function decline() {
  const { code, url } = about.code_declined ? await call("decline", { body: { participant: PARTICIPANT } }) : {};
  const parts = [
    title(() => say("That's fine")),
    paragraph(() => say("You are not taking part. You can close this page.")),
  ];
  if (code) parts.push(make("h2", () => say("Your code")), codeLine(code));
  const link = url && { href: url, words: () => say("Finish at {host}", { host: new URL(url).host }) };
  await screen(parts, [{ words: () => say("Back") }, ...link ? [link] : []]);
}

// --- instructions -------------------------------------------------------------------------------------------

/** How pictures appear: while they are shown for a time, and if they remain until the answer. */
const SHOWN = {
  together: seconds => isStacked()
    ? say("Two pictures appear one above the other for {seconds}, then disappear.", { seconds })
    : say("Two pictures appear side by side for {seconds}, then disappear.", { seconds }),
  sequence: seconds => isStacked()
    ? say("Two pictures appear one after the other, the upper one first, for {seconds} each, then disappear.", { seconds })
    : say("Two pictures appear one after the other, the left one first, for {seconds} each, then disappear.", { seconds }),
  single: seconds => say("A picture appears for {seconds}, then disappears.", { seconds }),
};
const REMAINING = {
  together: () => isStacked()
    ? say("Two pictures appear one above the other, and remain until you answer.")
    : say("Two pictures appear side by side, and remain until you answer."),
  sequence: SHOWN.sequence,
  single: () => say("A picture appears, and remains until you answer."),
};
const TASK = {
  real: () => say("Choose the one that you think is real. If you are not sure, guess."),
  fake: () => say("Choose the one that you think is fake. If you are not sure, guess."),
  single: () => say("Decide whether it is real or fake. If you are not sure, guess."),
  pick: () => say("Choose the one that looks more real. If you see no difference, choose “No difference”."),
  tag: () => say("Choose everything that is wrong with it. If you like, draw a box around the place, with the mouse or a finger."),
  rate: () => say("Rate how good it is, from 1 (bad) to 5 (excellent). Use the whole scale."),
};

const seconds = ms => say("one second", "{n} seconds", { n: ms / 1000 });

export async function instructions() {
  const { task, presentation, exposure_ms: exposure, practice_trials: practice, test_trials: test } = about;
  const list = make("ul");
  const point = words => list.append(make("li", words));
  if (task === "realness") point(() => say("Some pictures are real; the others, the fakes, were made by a computer."));
  else if (task !== "rate") point(() => say("All pictures were made by a computer.")); // Who rates isn't told which are.
  const time = () => about.staircase_right ? say("a short time that varies") : seconds(exposure);
  point(() => (exposure ? SHOWN : REMAINING)[presentation](time()));
  if (about.mask && exposure) point(() => say("A coloured pattern then covers the place of each picture."));
  point(TASK[asked()]);
  point(() => say("Take as long as you need to answer."));
  if (practice && task === "realness") {
    const first = () => say("The first one is for practice, and shows you the right answer.", "The first {n} are for practice, and show you the right answer.", { n: practice });
    const after = () => say("The one after that doesn't.", "The {n} after that don't.", { n: test });
    point(() => `${first()} ${after()}`);
  }
  if (practice && task !== "realness") {
    point(() => say("The first one is for practice, and doesn't count.", "The first {n} are for practice, and don't count.", { n: practice }));
  }
  if (matchMedia("(hover: hover)").matches) {
    point(() => say("With a keyboard: {keys}.", { keys: keyWords().replaceAll("   ", ", ") }));
  }
  point(() => say("If you have to leave, open the same link on this device later: it continues where you stopped."));
  await screen([title(() => say("How it works")), list], [{ words: () => say("Begin"), main: true }]);
}
