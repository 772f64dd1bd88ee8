// A button beside each snippet puts its text onto the clipboard.
"use strict";

(() => {
  // A page that came without TLS has no clipboard of its own: what is selected is copied instead.
  function select(text) {
    const range = document.createRange();
    range.selectNodeContents(text);
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    return document.execCommand("copy");
  }

  async function copy(text) {
    if (!navigator.clipboard) return select(text);
    try {
      await navigator.clipboard.writeText(text.textContent);
      return true;
    } catch {
      return select(text);
    }
  }

  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      button.textContent = (await copy(button.nextElementSibling)) ? "Copied" : "Press Ctrl-C";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
})();
