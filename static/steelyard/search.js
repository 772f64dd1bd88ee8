// The charts of a search's page: the best value so far, and all trials in parallel coordinates.
"use strict";

(() => {
  const page = document.querySelector("[data-search]");
  if (!page) return;
  const pause = 3000;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const short = (value) => (typeof value === "number" ? String(Number(value.toPrecision(3))) : JSON.stringify(value));
  const axis = () => ({
    stroke: colour("--quiet"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { stroke: colour("--line"), width: 1 },
    font: "12px Inter, system-ui, sans-serif",
  });
  const height = 240;
  const curve = document.getElementById("curve");
  const widthOf = (holder) => Math.max(holder.clientWidth - 44, 200);
  let plot = null;

  function showCurve(trials, isBetter, metric) {
    let best = null;
    const soFar = trials.map(({ value }) => (best = best === null || isBetter(value, best) ? value : best));
    const data = [trials.map((one) => one.number), trials.map((one) => one.value), soFar];
    if (plot) {
      plot.setData(data);
      return;
    }
    const options = {
      width: widthOf(curve),
      height,
      scales: { x: { time: false, range: (_, low, high) => [low - 0.5, high + 0.5] } },
      axes: [{ ...axis(), incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500] }, { ...axis(), size: 62 }],
      series: [
        { label: "trial" },
        { label: metric, stroke: colour("--series-2"), paths: () => null, points: { show: true, size: 5 } },
        { label: "best so far", stroke: colour("--series-1"), width: 2, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } },
      ],
    };
    plot = new uPlot(options, data, curve);
    new ResizeObserver(() => plot.setSize({ width: widthOf(curve), height })).observe(curve);
  }

  // From 0 to 1 along an axis: a number by its size or its logarithm, a choice by its place among the choices.
  function scaleOf({ name, log, choices }, values) {
    if (choices) {
      const texts = choices.map((one) => JSON.stringify(one));
      const place = (index) => (texts.length < 2 ? 0.5 : index / (texts.length - 1));
      return {
        label: name,
        of: (value) => place(texts.indexOf(JSON.stringify(value))),
        ticks: choices.map((one, index) => ({ at: place(index), text: typeof one === "string" ? one : short(one) })),
      };
    }
    const size = (value) => (log ? Math.log(value) : value);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const span = size(high) - size(low);
    const ticks = span ? [{ at: 0, text: short(low) }, { at: 1, text: short(high) }] : [{ at: 0.5, text: short(low) }];
    return { label: name, of: (value) => (span ? (size(value) - size(low)) / span : 0.5), ticks };
  }

  function showParallel({ axes, metric, direction }, trials, isBetter) {
    const scales = axes.map((one) => scaleOf(one, trials.map((trial) => trial.params[one.name])));
    const values = scaleOf({ name: metric }, trials.map((trial) => trial.value));
    const complete = trials.filter((one) => one.state === "complete");
    const best = complete.reduce((a, b) => (a === null || isBetter(b.value, a.value) ? b : a), null);
    const lines = trials.map((trial) => ({
      at: [...scales.map((scale, index) => scale.of(trial.params[axes[index].name])), values.of(trial.value)],
      share: direction === "maximize" ? values.of(trial.value) : 1 - values.of(trial.value),
      isBest: trial === best,
      title: `trial ${trial.number}: ${metric} ${short(trial.value)}`,
      href: trial.job ? `/jobs/${trial.job}` : "",
    }));
    window.steelyardTrials(document.getElementById("tries"), [...scales, values], lines);
  }

  async function show() {
    try {
      const answer = await (await fetch(`/searches/${page.dataset.search}/trials.json`)).json();
      const isBetter = answer.direction === "maximize" ? (a, b) => a > b : (a, b) => a < b;
      const trials = answer.trials.filter((one) => one.value !== null && one.state !== "running");
      if (trials.length) {
        document.querySelectorAll("#curve .empty, #tries .empty").forEach((one) => one.remove());
        const complete = trials.filter((one) => one.state === "complete");
        if (complete.length) showCurve(complete, isBetter, answer.metric);
        showParallel(answer, trials, isBetter);
      }
      if (answer.final) return;
    } catch (error) {
      console.warn("the charts could not be refreshed", error);
    }
    setTimeout(show, pause);
  }

  show();
})();
