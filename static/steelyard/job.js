// The live parts of a job's page: its charts and its log. Each asks again every second until the job has ended.
"use strict";

(() => {
  const page = document.querySelector("[data-job]");
  if (!page) return;
  const home = `/jobs/${page.dataset.job}`;
  const pause = 1000;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // "train/loss" and "validation/loss" share a chart named by what stands after the slash.
  const chartOf = (series) => series.split("/").pop();
  const charts = new Map();

  const axis = () => ({
    stroke: colour("--quiet"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { stroke: colour("--line"), width: 1 },
    font: "12px Inter, system-ui, sans-serif",
  });

  function align(group) {
    const steps = [...new Set(group.flatMap((one) => one.steps))].sort((a, b) => a - b);
    const row = new Map(steps.map((step, index) => [step, index]));
    const columns = group.map((one) => {
      const column = new Array(steps.length).fill(null);
      one.steps.forEach((step, index) => { column[row.get(step)] = one.values[index]; });
      return column;
    });
    return [steps, ...columns];
  }

  function draw(name, group) {
    const known = charts.get(name);
    if (known && known.count === group.length) {
      known.plot.setData(align(group));
      return;
    }
    if (known) known.plot.destroy();
    let holder = document.getElementById(`chart-${name}`);
    if (!holder) {
      holder = document.createElement("div");
      holder.className = "card";
      holder.id = `chart-${name}`;
      const title = document.createElement("h2");
      title.textContent = name.replaceAll("_", " ");
      holder.append(title);
      document.getElementById("charts").append(holder);
    }
    const options = {
      width: Math.max(holder.clientWidth - 44, 260),
      height: 240,
      scales: { x: { time: false } },
      axes: [axis(), { ...axis(), size: 62 }],
      series: [
        { label: "step" },
        ...group.map((one, index) => ({
          label: one.name,
          stroke: colour(`--series-${(index % 4) + 1}`),
          width: 2,
          spanGaps: true,
          points: { show: one.steps.length < 40, size: 5 },
        })),
      ],
    };
    charts.set(name, { plot: new uPlot(options, align(group), holder), count: group.length, holder });
  }

  async function showCharts() {
    try {
      const answer = await (await fetch(`${home}/series.json`)).json();
      const groups = new Map();
      for (const series of answer.series) {
        const name = chartOf(series.name);
        groups.set(name, [...(groups.get(name) || []), series]);
      }
      document.getElementById("no-metrics").hidden = groups.size > 0;
      groups.forEach((group, name) => draw(name, group));
      if (answer.final) return;
    } catch (error) {
      console.warn("the charts could not be refreshed", error);
    }
    setTimeout(showCharts, pause);
  }

  let last = 0;
  async function showLog() {
    const log = document.getElementById("log");
    try {
      const answer = await (await fetch(`${home}/log.json?after=${last}`)).json();
      const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
      for (const line of answer.lines) {
        log.append(`${line.text}\n`);
        last = line.id;
      }
      if (atEnd) log.scrollTop = log.scrollHeight;
      if (answer.final && answer.lines.length === 0) return;
    } catch (error) {
      console.warn("the log could not be refreshed", error);
    }
    setTimeout(showLog, pause);
  }

  window.addEventListener("resize", () => {
    charts.forEach(({ plot, holder }) => plot.setSize({ width: Math.max(holder.clientWidth - 44, 260), height: 240 }));
  });
  showCharts();
  showLog();
})();
