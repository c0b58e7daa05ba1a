// The page's language. English templates are the keys of the translations, which come from the server's catalogues.

import { remember } from "./storage.js";

/** The first is the language of the templates. */
const LANGUAGES = document.documentElement.dataset.languages.split(" ");

export let language = initialLanguage();
/** Null until they have arrived: until then all words are empty, so that nobody sees another language flash by. */
let translations = null;
let chosen = null;

function initialLanguage() {
  const kept = remember("language"), browser = `${navigator.language}-`.toLowerCase();
  return [kept, ...LANGUAGES.filter(code => browser.startsWith(`${code}-`.toLowerCase())), LANGUAGES[0]]
    .find(code => LANGUAGES.includes(code));
}

export const isTranslated = () => language !== LANGUAGES[0];

/**
 * A sentence in the participant's language. Where it counts, its arguments are singular, plural and { n, … }, else
 * template and values. The templates are literals, because Babel extracts them from this call.
 */
export function say(template, ...rest) {
  if (!translations) return "";
  const values = rest.at(-1) ?? {}, plural = rest.length > 1 ? rest[0] : template;
  const found = translations[template] ?? (values.n === 1 ? template : plural);
  const text = found.other ? found[new Intl.PluralRules(language).select(values.n)] ?? found.other : found;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** Put words on an element; they change with the language. */
export function put(element, words) {
  element.words = words;
  element.textContent = words();
}

/** Put all words on the page again, because the language or the layout has changed. */
export function relabel() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("*")) {
    if (element.words) element.textContent = element.words();
    if (element.label) element.setAttribute("aria-label", element.label());
  }
}

/** Change the language as soon as its translations are here. */
export async function setLanguage(code) {
  chosen = code;
  const found = await fetchTranslations(code);
  if (chosen !== code) return; // Another was chosen meanwhile.
  [language, translations] = [code, found];
  relabel();
}

async function fetchTranslations(code) {
  for (let pause = 400; code !== LANGUAGES[0]; pause = Math.min(8000, 2 * pause)) {
    try {
      const response = await fetch(new URL(`words.${code}.json`, import.meta.url), { signal: AbortSignal.timeout(20000) });
      if (response.ok) return await response.json();
      if (response.status === 404) break; // English is better than nothing.
    } catch { /* The connection failed. */ }
    await new Promise(resolve => setTimeout(resolve, pause));
  }
  return {};
}

/** Make a button go through the languages; it shows the name of the next one, in that language. */
export function makeLanguageButton(button) {
  const next = () => LANGUAGES[(LANGUAGES.indexOf(language) + 1) % LANGUAGES.length];
  put(button, () => new Intl.DisplayNames([next()], { type: "language" }).of(next()));
  button.hidden = LANGUAGES.length < 2;
  button.addEventListener("click", () => {
    remember("language", next());
    setLanguage(next());
  });
}
