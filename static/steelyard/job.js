// The live parts of a job's page: state, charts, samples and log, streamed to it; without a stream it asks every two
// seconds. Nothing is reloaded.
"use strict";

(() => {
  const page = document.querySelector("[data-job]");
  if (!page) return;
  const { Chart, measure } = window.steelyardCharts;
  const home = `/jobs/${page.dataset.job}`;
  const pause = 2000;
  const byId = (id) => document.getElementById(id);
  const json = async (path) => {
    const answer = await fetch(`${home}/${path}`, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`${path} was answered with ${answer.status}`);
    return answer.json();
  };

  // --- charts ---------------------------------------------------------------------------------

  const known = new Map(); // a series by its name
  const charts = new Map(); // a chart by its name
  const mostPoints = 1500; // of a series on the page, before it is asked for in buckets again
  const isMeter = (name) => name.startsWith("system/");
  // "train/loss" and "validation/loss" share a chart named by what stands after the slash.
  const chartOf = (name) => (isMeter(name) ? name.slice(7).replace(/^gpu\d+_/, "gpu_") : name.split("/").slice(1).join("/") || name);
  const order = ["loss", "accuracy", "map50", "mean_iou"]; // what people look at first
  const rank = (name) => (order.includes(name) ? order.indexOf(name) : order.length);

  async function loadSeries(query = "") {
    const answer = await json(`series.json${query}`);
    if (!query) known.clear();
    for (const one of answer.series) known.set(one.name, one);
    const search = byId("series-search");
    search.hidden = answer.names <= 48;
    if (!query) byId("series-count").textContent = `${answer.names} series in all; the first ${answer.series.length} are shown`;
    drawCharts();
  }

  const namesQuery = (names, more = "") => `?${names.map((name) => `name=${encodeURIComponent(name)}`).join("&")}${more}`;

  function groups() {
    const found = new Map();
    for (const series of known.values()) {
      const key = `${isMeter(series.name) ? "system/" : ""}${chartOf(series.name)}`;
      found.set(key, [...(found.get(key) || []), series]);
    }
    return [...found].sort(([a], [b]) => rank(a) - rank(b) || a.localeCompare(b));
  }

  function drawCharts(only = null) {
    const found = groups();
    const empty = byId("no-metrics"); // most kinds of jobs have none at all
    empty.hidden = found.length > 0 || "none" in empty.dataset;
    byId("machine").hidden = !found.some(([key]) => key.startsWith("system/"));
    // All cards first: each takes its share of the row before a chart is drawn in it.
    for (const [key] of found) if (!charts.has(key)) charts.set(key, makeChart(key));
    for (const [key, group] of found) {
      const chart = charts.get(key);
      if (chart.isZoomed || (only && !group.some((one) => only.has(one.name)))) continue;
      if (key.startsWith("system/") && !byId("machine").open) continue;
      chart.show(group);
    }
  }

  function makeChart(key) {
    const meter = key.startsWith("system/");
    const name = meter ? key.slice(7) : key;
    return new Chart(byId(meter ? "meters" : "charts"), name, { time: meter, zoomed: (from, to) => zoom(key, from, to) });
  }

  async function zoom(key, from, to) {
    if (from === undefined) {
      drawCharts(); // what is known grew meanwhile
      return;
    }
    const chart = charts.get(key);
    const names = groups().find(([name]) => name === key)[1].map((one) => one.name);
    const part = await json(`series.json${namesQuery(names, `&after=${Math.max(from - 1, 0)}&upto=${to}`)}`);
    if (!part.series.length || !chart.isZoomed) return; // all was asked for again meanwhile
    const present = new Map(part.series.map((one) => [one.name, one]));
    chart.show(names.map((name) => present.get(name) || { name, steps: [], values: [] }));
    chart.plot.setScale("x", { min: from, max: to });
  }

  function append(name, points) {
    const series = known.get(name);
    if (!series) return false;
    for (const [step, value] of points) {
      if (series.steps.length && step <= series.steps.at(-1)) continue;
      series.steps.push(step);
      for (const key of ["values", "lows", "highs"]) series[key].push(value);
      if (value === null) series.marks[step] = "NaN";
    }
    return series.steps.length < mostPoints;
  }

  async function showNewPoints(change) {
    const stale = change.series.map((one) => one.name).filter((name) => {
      const points = change.points?.[name];
      return !points || !append(name, points);
    });
    for (const one of change.series) showTile(one.name, one.last_value);
    if (stale.length) await loadSeries(namesQuery(stale.slice(0, 100)));
    drawCharts(new Set(change.series.map((one) => one.name)));
  }

  // --- state ----------------------------------------------------------------------------------

  const show = (name, text) => {
    const element = document.querySelector(`[data-show="${name}"]`);
    if (element.textContent !== text) element.textContent = text;
  };

  const duration = (seconds) => {
    if (seconds < 90) return `${Math.round(seconds)} s`;
    if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
    return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  };

  let state = document.querySelector('[data-show="state"]').textContent;
  let attempt = Number(page.dataset.attempt);
  function showStatus(status) {
    show("state", status.state);
    document.querySelector('[data-show="state"]').className = `pill ${status.state}`;
    show("message", status.error || (status.message === status.state ? "" : status.message));
    show("eta", status.eta_seconds === null ? "" : `about ${duration(status.eta_seconds)} left`);
    showSilence(status.silent_since);
    const meter = document.querySelector("#status .meter");
    meter.setAttribute("aria-valuenow", Math.round(status.progress * 100));
    meter.firstElementChild.style.width = `${status.progress * 100}%`;
    const other = status.state !== state || status.attempt !== attempt;
    const begunAgain = status.attempt !== attempt;
    [state, attempt] = [status.state, status.attempt];
    if (other) {
      htmx.ajax("GET", `${home}/actions`, { target: "#actions", swap: "outerHTML" });
      htmx.ajax("GET", `${home}/panels`, { target: "#panels", swap: "outerHTML" });
    }
    if (begunAgain) loadSeries().catch(complain); // points beyond the checkpoint were taken back
  }

  function showSilence(since) {
    const notice = byId("silent");
    notice.hidden = !since;
    if (since) notice.querySelector("time").textContent = new Date(since).toLocaleString();
  }

  // What was validated comes first, as when the page is made anew.
  const mostTiles = 12;
  const isBefore = (a, b) => {
    const [first, second] = [a, b].map((name) => !name.includes("validation"));
    return first === second ? a < b : first < second;
  };

  function makeTile(name) {
    const tiles = byId("tiles");
    const tile = document.createElement("div");
    tile.className = "tile";
    tile.dataset.name = name;
    tile.append(document.createElement("b"), document.createElement("span"));
    tile.lastElementChild.textContent = name;
    tiles.insertBefore(tile, [...tiles.children].find((one) => isBefore(name, one.dataset.name)) || null);
    if (tiles.children.length > mostTiles) tiles.lastElementChild.remove();
    tiles.hidden = false;
    return tile;
  }

  function showTile(name, value) {
    if (isMeter(name)) return;
    const tile = [...byId("tiles").children].find((one) => one.dataset.name === name) || makeTile(name);
    tile.firstElementChild.textContent = value === null ? "not finite" : measure(value);
  }

  // --- log ------------------------------------------------------------------------------------

  const log = byId("log");
  let lastLine = 0;
  const escapes = /\x1b\[([0-9;]*)m/g;
  const others = /\x1b(?:\[[0-9;?]*[A-Za-ln-z]|\][^\x07]*\x07?|.)/g;
  const colours = { 31: "bad", 32: "good", 33: "warm", 34: "accent", 36: "accent", 91: "bad", 92: "good", 93: "warm", 94: "accent", 96: "accent", 1: "strong" };

  // What a terminal would colour is coloured; every other control sequence is left out.
  function coloured(text) {
    const line = document.createElement("span");
    let at = 0;
    let style = "";
    const add = (part) => {
      const plain = part.replace(others, "");
      if (!plain) return;
      const piece = document.createElement("span");
      piece.className = style;
      piece.textContent = plain;
      line.append(piece);
    };
    for (const found of text.matchAll(escapes)) {
      add(text.slice(at, found.index));
      at = found.index + found[0].length;
      style = found[1].split(";").map((code) => colours[Number(code)] || "").filter(Boolean).map((name) => `ink-${name}`).join(" ");
    }
    add(text.slice(at));
    line.append("\n");
    return line;
  }

  const mostLines = 5000;
  const isBehind = ([attempt, number], [otherAttempt, otherNumber]) => attempt > otherAttempt || (attempt === otherAttempt && number > otherNumber);
  function showLines(lines) {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
    for (const line of lines) {
      if (line.id <= lastLine) continue;
      const shown = coloured(line.text);
      shown.place = [line.attempt, line.number];
      // A program that sends its output in parts may send one again that was lost: it belongs further up.
      let before = log.lastElementChild;
      while (before && isBehind(before.place, shown.place)) before = before.previousElementSibling;
      before ? before.after(shown) : log.prepend(shown);
      lastLine = line.id;
    }
    while (log.childElementCount > mostLines) log.firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  async function loadLines() {
    showLines((await json(`log.json${lastLine ? `?after=${lastLine}` : ""}`)).lines);
  }

  // --- samples --------------------------------------------------------------------------------

  const samples = JSON.parse(byId("samples-data").textContent);
  const box = byId("samples");
  const [choice, slider, image, caption] = ["select", "input", "img", "figcaption"].map((name) => box.querySelector(name));

  function showSamples(follow) {
    const names = Object.keys(samples).sort();
    box.hidden = names.length === 0;
    if (box.hidden) return;
    if (choice.options.length !== names.length) {
      const chosen = choice.value;
      choice.replaceChildren(...names.map((name) => new Option(name, name)));
      choice.value = names.includes(chosen) ? chosen : names[0];
    }
    choice.hidden = names.length < 2;
    const row = samples[choice.value];
    const wasLast = Number(slider.value) === Number(slider.max);
    slider.max = row.length - 1;
    if (follow && wasLast) slider.value = row.length - 1;
    slider.hidden = row.length < 2;
    const one = row[Math.min(Number(slider.value), row.length - 1)];
    image.src = one.url;
    image.alt = `${one.name} at step ${one.step}`;
    image.parentElement.href = one.url;
    caption.textContent = `${one.name}, step ${one.step} (${Number(slider.value) + 1} of ${row.length})`;
  }

  function addSamples(found) {
    for (const one of found) {
      const row = (samples[one.name] ||= []);
      const same = row.findIndex((other) => other.step === one.step);
      if (same >= 0) row[same] = one;
      else row.push(one);
      row.sort((a, b) => a.step - b.step);
    }
    if (found.length) showSamples(true);
  }

  choice.addEventListener("change", () => { slider.value = 0; showSamples(false); });
  slider.addEventListener("input", () => showSamples(false));

  // --- the stream -----------------------------------------------------------------------------

  const complain = (error) => console.warn("a part of the page could not be refreshed", error);
  let waiting = Promise.resolve(); // changes are shown one after the other
  const inTurn = (work) => { waiting = waiting.then(work).catch(complain); };

  async function loadAll() {
    await Promise.all([loadSeries(), loadLines()]);
  }

  async function apply(change) {
    showStatus(change.status);
    showLines(change.lines);
    addSamples(change.samples);
    if (change.series.length) await showNewPoints(change);
  }

  function follow() {
    const stream = new EventSource(`${home}/events`);
    stream.addEventListener("hello", () => inTurn(loadAll));
    stream.addEventListener("change", (event) => inTurn(() => apply(JSON.parse(event.data))));
    stream.addEventListener("end", () => { stream.close(); inTurn(loadAll); });
    stream.addEventListener("error", () => {
      // Closed for good: this server has no stream to spare. Otherwise the browser connects again by itself.
      if (stream.readyState === EventSource.CLOSED) ask("");
    });
    addEventListener("pagehide", () => stream.close());
  }

  async function ask(cursor) {
    let next = cursor;
    try {
      if (!cursor) await loadAll();
      const change = await json(`live.json?cursor=${cursor}`);
      next = change.cursor;
      await apply(change);
      if (change.status.final && next === cursor) return;
    } catch (error) {
      complain(error);
    }
    setTimeout(() => ask(next), pause);
  }

  byId("machine").addEventListener("toggle", () => drawCharts());
  byId("series-search").addEventListener("submit", (event) => {
    event.preventDefault();
    const match = new FormData(event.target).get("match").trim();
    for (const chart of charts.values()) chart.holder.remove();
    charts.clear();
    known.clear();
    loadSeries(match ? `?match=${encodeURIComponent(match)}` : "").catch(complain);
  });

  const silent = byId("silent");
  showSilence(silent.hidden ? null : silent.querySelector("time").textContent);
  showSamples(true);
  if (page.dataset.final === "yes") inTurn(loadAll);
  else follow();
})();
