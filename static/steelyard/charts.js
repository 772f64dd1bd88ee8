// Charts of series: a line for the mean, a band from lowest to highest, a mark where a value is no finite number.
// Used by a job's page and by the comparison of runs, as `steelyardCharts`.
"use strict";

(() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const height = 240;
  const widthOf = (holder) => Math.max(holder.clientWidth - 44, 200);
  const hue = (index) => colour(`--series-${(index % 8) + 1}`) || colour("--accent");
  const soft = (colourOfLine) => `color-mix(in srgb, ${colourOfLine} 18%, transparent)`;

  // A measure as the server writes it: four digits, without zeros that say nothing; large ones whole.
  const measure = (value) => {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-4 || size >= 1e15)) return value.toExponential(3).replace(/\.?0*e\+?/, "e");
    const places = size === 0 || Number.isInteger(value) ? 0 : Math.max(3 - Math.floor(Math.log10(size)), 0);
    const [whole, rest = ""] = value.toFixed(places).replace(/(\.\d*?)0+$/, "$1").split(".");
    return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (rest && `.${rest}`);
  };

  // Marks on an axis stand close to each other: they have as many digits as they need.
  const mark = (value) => {
    const size = Math.abs(value);
    const plain = Number(value.toPrecision(5));
    return size !== 0 && (size < 1e-3 || size >= 1e6) ? plain.toExponential() : String(plain);
  };

  const axis = () => ({
    stroke: colour("--quiet"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { stroke: colour("--line"), width: 1 },
    font: "12px Inter, system-ui, sans-serif",
  });

  // uPlot wants one list of steps and, for each line, a column as long: three columns for each series.
  function align(group) {
    const steps = [...new Set(group.flatMap((one) => one.steps))].sort((a, b) => a - b);
    const row = new Map(steps.map((step, index) => [step, index]));
    const columns = [];
    for (const one of group) {
      for (const key of ["values", "lows", "highs"]) {
        // Undefined: nothing was measured here, and the line goes on. Null: what was measured is a gap.
        const column = new Array(steps.length).fill(undefined);
        one.steps.forEach((step, index) => { column[row.get(step)] = (one[key] || one.values)[index]; });
        columns.push(column);
      }
    }
    return [steps, ...columns];
  }

  function drawMarks(plot, group) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = colour("--bad");
    ctx.font = `${12 * devicePixelRatio}px Inter, sans-serif`;
    ctx.textAlign = "center";
    for (const one of group) {
      for (const step of Object.keys(one.marks || {})) {
        const x = plot.valToPos(Number(step), "x", true);
        if (x >= bbox.left && x <= bbox.left + bbox.width) ctx.fillText("×", x, bbox.top + 10 * devicePixelRatio);
      }
    }
    ctx.restore();
  }

  const resized = new ResizeObserver((entries) => {
    for (const { target } of entries) target.chart?.plot?.setSize({ width: widthOf(target), height });
  });

  // A part that is chosen in one chart is chosen in all, so all of them show everything again at once.
  const drawn = new Set();

  function showAll(chart) {
    for (const one of drawn) {
      if (one.holder.isConnected) one.isZoomed = false;
      else drawn.delete(one);
    }
    chart.zoomed?.();
  }

  // One card with one chart. `zoomed(from, to)` is called when a part is chosen; without arguments when every chart of
  // the page is to show all again.
  class Chart {
    constructor(parent, name, { time = false, zoomed = null } = {}) {
      this.time = time;
      this.zoomed = zoomed;
      this.isZoomed = false;
      this.lines = 0;
      this.holder = document.createElement("div");
      this.holder.className = "card";
      this.holder.id = `chart-${name}`;
      this.holder.dataset.chart = name;
      this.holder.chart = this;
      const title = document.createElement("h2");
      title.textContent = name.replaceAll("_", " ");
      this.holder.append(title);
      parent.append(this.holder);
      drawn.add(this);
      resized.observe(this.holder);
    }

    // group: [{name, steps, values, lows, highs, marks}]
    show(group) {
      this.group = group;
      const data = align(group);
      if (this.plot && this.lines === group.length) {
        this.plot.setData(data, !this.isZoomed);
        return;
      }
      this.plot?.destroy();
      this.lines = group.length;
      this.plot = new uPlot(this.options(group), data, this.holder);
    }

    options(group) {
      const lines = group.flatMap((one, index) => [
        {
          label: one.name,
          stroke: one.colour || hue(index),
          width: 2,
          value: (_, value) => measure(value),
          points: { show: one.steps.length < 40, size: 5 },
        },
        { label: "", width: 0, points: { show: false } },
        { label: "", width: 0, points: { show: false } },
      ]);
      const bands = group.map((one, index) => ({
        series: [3 * index + 3, 3 * index + 2],
        fill: soft(one.colour || hue(index)),
      }));
      return {
        width: widthOf(this.holder),
        height,
        scales: { x: { time: this.time } },
        axes: [axis(), { ...axis(), size: 72, values: (_, ticks) => ticks.map(mark) }],
        series: [{ label: this.time ? "time" : "step" }, ...lines],
        bands,
        cursor: { drag: { x: true, y: false }, sync: this.time ? undefined : { key: "steps" } },
        hooks: {
          draw: [(plot) => drawMarks(plot, this.group)],
          setSelect: [(plot) => this.choose(plot)],
          ready: [(plot) => {
            plot.over.addEventListener("dblclick", () => showAll(this));
            this.hideBands(plot);
          }],
        },
      };
    }

    // The band's two lines are no lines of their own to whoever reads the legend.
    hideBands(plot) {
      plot.root.querySelectorAll(".u-legend .u-series").forEach((row, index) => {
        if (index > 0 && index % 3 !== 1) row.style.display = "none";
      });
    }

    choose(plot) {
      if (plot.select.width < 4) return;
      const from = Math.floor(plot.posToVal(plot.select.left, "x"));
      const to = Math.ceil(plot.posToVal(plot.select.left + plot.select.width, "x"));
      this.isZoomed = true;
      this.zoomed?.(from, to);
    }
  }

  window.steelyardCharts = { Chart, colour, hue, measure };
})();
