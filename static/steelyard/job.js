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

  const height = 240;
  const widthOf = (holder) => Math.max(holder.clientWidth - 44, 200);

  // What people look at first stands first.
  const order = ["loss", "accuracy"];
  const rank = (name) => (order.includes(name) ? order.indexOf(name) : order.length);

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
    const holder = holderOf(name);
    const options = {
      width: widthOf(holder),
      height,
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
    charts.set(name, { plot: new uPlot(options, align(group), holder), count: group.length });
  }

  // A chart's card, which tells its chart whenever it gets wider or narrower.
  const resized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const chart = charts.get(target.dataset.chart);
      if (chart) chart.plot.setSize({ width: widthOf(target), height });
    }
  });

  function holderOf(name) {
    const known = document.getElementById(`chart-${name}`);
    if (known) return known;
    const holder = document.createElement("div");
    holder.className = "card";
    holder.id = `chart-${name}`;
    holder.dataset.chart = name;
    const title = document.createElement("h2");
    title.textContent = name.replaceAll("_", " ");
    holder.append(title);
    document.getElementById("charts").append(holder);
    resized.observe(holder);
    return holder;
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
      const names = [...groups.keys()].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
      names.forEach(holderOf); // all cards first: each takes its share of the row before a chart is drawn in it
      names.forEach((name) => draw(name, groups.get(name)));
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

  showCharts();
  showLog();
})();
