// The consent in the owner's words: agreed to before anything else, read again and saved later.

import { make } from "./parts.js";
import { session } from "./storage.js";
import { about } from "./study.js";
import { language, put, say } from "./words.js";

const TAGS = new Set(["p", "h2", "h3", "ul", "ol", "li", "blockquote", "hr", "pre", "strong", "em", "a", "br", "code"]);

/** An element of the text. The server sends a tree and never HTML, so that nothing in it can run. */
function element(part) {
  if (typeof part === "string") return part;
  const { tag, parts, href, start } = part;
  const made = document.createElement(TAGS.has(tag) ? tag : "span");
  if (href) Object.assign(made, { href, target: "_blank", rel: "noreferrer" });
  if (start !== undefined) made.start = start;
  made.append(...parts.map(element));
  return made;
}

/** The text in the page's language, or the original. */
export const ownText = () => about.consent.texts[language] ?? about.consent.texts[""];

/** The version and the ethics number, in words. */
function reference() {
  const { version, ethics } = about.consent;
  const said = [];
  if (version) said.push(say("Version {version}.", { version }));
  if (ethics) said.push(say("Ethics approval: {number}.", { number: ethics }));
  if (session.agreed) {
    const date = new Intl.DateTimeFormat(language, { dateStyle: "long", timeStyle: "short" }).format(new Date(session.agreed));
    said.push(say("You agreed to this: {date}.", { date }));
  }
  return said.join(" ");
}

/** The text, what identifies it, and a button that saves it. */
export function ownWords() {
  const text = make("section", null, { className: "own" });
  const show = () => text.replaceChildren(...ownText().blocks.map(element));
  new MutationObserver(show).observe(document.documentElement, { attributeFilter: ["lang"] });
  show();
  const line = make("div", null, { className: "reference" }), save = make("button", () => say("Save this text"), { type: "button", className: "small" });
  save.addEventListener("click", saveText);
  line.append(make("p", reference, { className: "soft" }), save);
  return [text, line];
}

function saveText() {
  const content = [about.title, ownText().text.trim(), reference()].filter(Boolean).join("\n\n");
  const href = URL.createObjectURL(new Blob([`${content}\n`], { type: "text/plain;charset=utf-8" }));
  make("a", null, { href, download: `${about.name}-consent.${about.consent.format}` }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60000);
}

/** A box to tick, and whether it is; without a tick it asks for one. */
export function agreeBox() {
  const box = make("input", null, { type: "checkbox", id: "agree" }), label = make("label", null, { className: "option" });
  const said = make("p", null, { className: "problem" }), element = make("div", null, { className: "question" });
  said.setAttribute("role", "status");
  label.append(box, make("span", () => say("I have read this information, and I agree to take part.")));
  element.append(label, said);
  box.addEventListener("change", () => {
    element.classList.remove("wrong");
    put(said, () => "");
  });
  const check = () => {
    if (box.checked) return true;
    element.classList.add("wrong");
    put(said, () => say("Please tick the box, if you agree."));
    element.scrollIntoView({ block: "center" });
    box.focus({ preventScroll: true });
    return false;
  };
  return { element, check };
}

/** Let those who have agreed read the text again, wherever no trial is in progress. */
export function showReread() {
  if (!about.consent || !session.agreed) return;
  const button = document.getElementById("reread"), dialog = document.getElementById("reading");
  button.hidden = false;
  put(button, () => say("Consent"));
  button.onclick = () => {
    const close = make("button", () => say("Close"), { type: "button", className: "small close" });
    close.addEventListener("click", () => dialog.close());
    dialog.replaceChildren(make("h1", () => say("What you have agreed to")), ...ownWords(), close);
    dialog.showModal();
    dialog.scrollTop = 0;
  };
}
