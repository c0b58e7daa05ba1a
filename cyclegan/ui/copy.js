// The buttons that copy the text next to them (`to_copy` in studies.py), before a page's own script.
// Gradio calls this with `element` and `props` (`words`).

const translated = props.words[navigator.language.slice(0, 2).toLowerCase()] ?? {};
const say = text => translated[text] ?? text;

element.addEventListener("click", async event => {
  const button = event.target.closest(".to-copy button");
  if (!button) return;
  const code = button.closest("li").querySelector("code");
  let done = true;
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch { // No HTTPS, or not allowed within another page.
    getSelection().selectAllChildren(code);
    done = document.execCommand("copy");
  }
  button.textContent = done ? say("Copied") : say("Select and copy it");
  setTimeout(() => { button.textContent = say("Copy"); }, 2000);
});

