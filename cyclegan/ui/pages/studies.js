// The links for participants on an owner's page, whole: as this browser has come here, whatever stands between.
// Gradio calls this, after copy.js, with `element` and `watch`.

function fill() {
  // Without the page's own parameters.
  const base = new URL(".", document.baseURI).href;
  for (const code of element.querySelectorAll("code[data-path]")) code.textContent = base + code.dataset.path;
  const here = /^(localhost|127\.[\d.]+|\[::1\])$/.test(location.hostname);
  for (const node of element.querySelectorAll(".only-here")) node.hidden = !here;
}

watch("value", fill);
fill();
