// The links for participants on an owner's page, whole: as this browser has come here, whatever stands between.
// Gradio calls this with `element`, `props` (`words`) and `watch`.

const translated = props.words[navigator.language.slice(0, 2).toLowerCase()] ?? {};
const say = text => translated[text] ?? text;

function fill() {
  // Without the page's own parameters, among which may be the owner's key.
  const base = new URL(".", document.baseURI).href;
  for (const code of element.querySelectorAll("code[data-path]")) code.textContent = base + code.dataset.path;
  const here = /^(localhost|127\.[\d.]+|\[::1\])$/.test(location.hostname);
  for (const node of element.querySelectorAll(".only-here")) node.hidden = !here;
}

element.addEventListener("click", async event => {
  const button = event.target.closest(".links button");
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

watch("value", fill);
fill();
