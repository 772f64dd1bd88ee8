// The comparison of runs: a chart for each measure with a line for each run, smoothed as far as the reader likes.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("runs-data").textContent);
  const { Chart, hue, measure } = window.steelyardCharts;
  const colours = data.jobs.map((_, index) => hue(index));
  const smoothing = document.getElementById("smoothing");
  const charts = new Map();
  let measured = []; // of each run, its series

  // From a value to its place on its axis, from 0 at the foot to 1. Words have places of their own; numbers stand by
  // their size, and by their magnitude where they span several.
  function scale(values) {
    const present = values.filter((value) => value !== null);
    if (present.some((value) => typeof value !== "number")) {
      const places = [...new Set(present.map(String))].sort();
      const at = (value) => (places.length > 1 ? places.indexOf(String(value)) / (places.length - 1) : 0.5);
      return { at, ticks: places.map((place) => ({ at: at(place), text: place })) };
    }
    const [low, high] = [Math.min(...present), Math.max(...present)];
    const by = low > 0 && high / low > 50 ? Math.log : (value) => value;
    const at = (value) => (high === low ? 0.5 : (by(value) - by(low)) / (by(high) - by(low)));
    return { at, ticks: [...new Set([low, high])].map((value) => ({ at: at(value), text: measure(value) })) };
  }

  if (data.axes.length > 1) {
    const holder = document.getElementById("parallel");
    holder.hidden = false;
    const scales = data.axes.map((axis) => scale(axis.values));
    const axes = data.axes.map((axis, index) => ({ label: axis.name.replaceAll("_", " "), ticks: scales[index].ticks }));
    const lines = data.jobs.map((job, run) => ({
      at: data.axes.map((axis, index) => (axis.values[run] === null ? null : scales[index].at(axis.values[run]))),
      share: 1, isBest: false, title: data.titles[run], href: `/jobs/${job}`, colour: colours[run],
    }));
    window.steelyardTrials(holder, axes, lines);
  }

  // An exponential average that begins without the pull of nothing; gaps stay gaps.
  function smooth(values, weight) {
    let [sum, share] = [0, 0];
    return values.map((value) => {
      if (value === null) return null;
      sum = sum * weight + value * (1 - weight);
      share = share * weight + (1 - weight);
      return sum / share;
    });
  }

  function draw() {
    const weight = Number(smoothing.value);
    const all = [...new Set(measured.flatMap((series) => series.map((one) => one.name)))];
    const order = (name) => (name.startsWith("validation/") ? 0 : 1);
    for (const name of all.sort((a, b) => order(a) - order(b) || a.localeCompare(b))) {
      if (!charts.has(name)) charts.set(name, new Chart(document.getElementById("charts"), name));
    }
    for (const [name, chart] of charts) {
      chart.show(measured.map((series, run) => {
        const one = series.find((other) => other.name === name) || { steps: [], values: [] };
        const values = weight ? smooth(one.values, weight) : one.values;
        return { name: data.titles[run], colour: colours[run], steps: one.steps, values, lows: weight ? values : one.lows || [], highs: weight ? values : one.highs || [], marks: one.marks };
      }));
    }
  }

  async function load() {
    measured = await Promise.all(data.jobs.map(async (job) => {
      const answer = await (await fetch(`/jobs/${job}/series.json`)).json();
      return answer.series.filter((one) => !one.name.startsWith("system/"));
    }));
    draw();
  }

  smoothing.addEventListener("input", draw);
  load().catch((error) => console.warn("the runs could not be loaded", error));
})();
