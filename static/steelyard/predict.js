// The panel of a version's page: pictures go up, and what the version says of them is drawn over them.
"use strict";

(() => {
  const panel = document.querySelector("[data-predict]");
  if (!panel) return;
  const form = panel.querySelector("form");
  const input = form.elements.pictures;
  const said = panel.querySelector("[data-said]");
  const answers = panel.querySelector("[data-answers]");
  const drop = panel.querySelector(".drop");
  const pause = 1000;

  for (const name of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
    });
  }
  drop.addEventListener("drop", (event) => {
    if (isBusy) return;
    input.files = event.dataTransfer.files;
    form.requestSubmit();
  });

  // The page's policy lets pictures come from here and from data, not from blobs.
  const asData = (file) => new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });

  const wait = () => new Promise((resolve) => { setTimeout(resolve, pause); });

  async function answerOf(first) {
    let response = first;
    let answer = await response.json();
    while (response.status === 202) {
      said.textContent = "Waiting for a worker…";
      await wait();
      response = await fetch(`/predictions/${answer.id}`);
      answer = await response.json();
    }
    if (!response.ok) throw new Error(answer.error.message);
    if (answer.state !== "done") throw new Error(answer.error);
    return answer.answer;
  }

  function element(name, text = "", kind = "") {
    const made = document.createElement(name);
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  const percent = (share) => `${(100 * share).toFixed(1)}%`;

  function boxOver(found, one) {
    const [left, top, right, bottom] = found.box;
    const box = element("span", `${found.label} ${found.score.toFixed(2)}`, "found");
    box.style.left = percent(left / one.width);
    box.style.top = percent(top / one.height);
    box.style.width = percent((right - left) / one.width);
    box.style.height = percent((bottom - top) / one.height);
    return box;
  }

  function shown(one, source, name) {
    const figure = element("figure");
    const stage = element("div", "", "stage");
    const picture = element("img");
    picture.src = source;
    picture.alt = name;
    stage.append(picture, ...one.boxes.map((found) => boxOver(found, one)));
    if (one.mask) {
      const mask = element("img", "", "mask");
      mask.src = `data:image/png;base64,${one.mask}`;
      mask.alt = "";
      stage.append(mask);
    }
    const caption = element("figcaption");
    for (const { label, score, colour } of [...one.labels, ...one.shares]) {
      const row = element("div", "", "share");
      const meter = element("span", "", "meter");
      const bar = element("i");
      bar.style.width = percent(score);
      if (colour) bar.style.background = colour; // as the mask paints it
      else if (one.mask) bar.className = "clear";
      meter.append(bar);
      row.append(element("b", label), element("span", percent(score)), meter);
      caption.append(row);
    }
    if (!one.labels.length && !one.shares.length && !one.boxes.length) caption.append(element("div", "nothing found"));
    caption.append(element("span", `${name} · ${one.latency_ms.toFixed(1)} ms`, "quiet"));
    figure.append(stage, caption);
    return figure;
  }

  let isBusy = false;
  function setBusy(busy) {
    isBusy = busy;
    form.querySelector("button").disabled = busy;
  }

  form.noValidate = true; // the field itself is not seen, and so would its complaint not be
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (isBusy) return; // the enter key presses no button
    const files = [...input.files];
    if (!files.length) {
      said.textContent = "Choose a picture first.";
      return;
    }
    setBusy(true);
    said.textContent = "Sending…";
    answers.replaceChildren();
    try {
      const [sources, response] = await Promise.all([
        Promise.all(files.map(asData)),
        fetch(panel.dataset.predict, { method: "POST", body: new FormData(form) }),
      ]);
      const answer = await answerOf(response);
      answers.append(...answer.pictures.map((one, place) => shown(one, sources[place], files[place].name)));
      said.textContent = `By ${answer.version}, ${answer.file}, in ${answer.runtime}.`;
    } catch (error) {
      said.textContent = error.message;
    } finally {
      setBusy(false);
    }
  });
})();
