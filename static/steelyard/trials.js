// Trials in parallel coordinates: an axis for each parameter, a line for each try. The caller scales; this draws, and again when
// its holder gets wider or narrower.
//
//   steelyardTrials(holder, axes, lines)
//     axes   [{ label, ticks: [{ at, text }] }]               `at` from 0 (below) to 1 (above)
//     lines  [{ at: [0.2, null, 1], share, isBest, title, href, colour }]  one place for each axis; null: it has none
"use strict";

window.steelyardTrials = (() => {
  const margin = { bottom: 12, left: 6, right: 54 }; // on the right, the last axis' marks
  const narrowest = 64; // from axis to axis: room for a number
  const row = 13; // the height of a level of names
  const pen = document.createElement("canvas").getContext("2d");
  const drawn = new WeakMap();
  const resized = new ResizeObserver((entries) => entries.forEach(({ target }) => redraw(target)));

  function element(name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // Every name stands within the picture, near its axis; names that would run into each other stand on several levels.
  function placed(names, x, width) {
    const ends = []; // how far each level is taken
    return names.map((name, index) => {
      const size = pen.measureText(name).width;
      const left = Math.max(0, Math.min(x(index) - size / 2, width - size));
      const free = ends.findIndex((end) => end + 8 <= left);
      const level = free < 0 ? ends.length : free;
      ends[level] = left + size;
      return { left, level };
    });
  }

  // As much of a text as there is room for.
  function cut(text, room) {
    if (pen.measureText(text).width <= room) return text;
    const most = [...text].findIndex((_, index) => pen.measureText(`${text.slice(0, index + 1)}…`).width > room);
    return `${text.slice(0, Math.max(most, 1))}…`;
  }

  function redraw(holder) {
    const { axes, lines, width: before } = drawn.get(holder);
    const width = Math.max(holder.clientWidth - 44, narrowest * axes.length); // wider than its holder, it is scrolled
    if (width === before) return;
    drawn.get(holder).width = width;
    const x = (index) => (axes.length < 2 ? width / 2 : margin.left + (index * (width - margin.left - margin.right)) / (axes.length - 1));
    pen.font = `11px ${getComputedStyle(holder).fontFamily}`;
    const names = placed(axes.map((axis) => axis.label), x, width);
    const top = 8 + row * (1 + Math.max(...names.map(({ level }) => level)));
    const height = 206 + top;
    const y = (at) => height - margin.bottom - at * (height - top - margin.bottom);
    const svg = element("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": axes.map((axis) => axis.label).join(", ") });
    for (const one of [...lines].sort((a, b) => a.isBest - b.isBest || a.share - b.share)) {
      const points = one.at.map((at, index) => (at === null ? null : `${x(index)},${y(at)}`)).filter(Boolean);
      const link = element("a", { href: one.href || "#" });
      const path = element("polyline", {
        ...(one.colour && { style: `stroke: ${one.colour}` }),
        points: points.join(" "), class: one.isBest ? "try best" : "try", "stroke-opacity": one.isBest ? 1 : 0.3 + 0.45 * one.share,
      });
      path.append(element("title", {}, one.title));
      link.append(path);
      svg.append(one.href ? link : path);
    }
    axes.forEach((axis, index) => {
      svg.append(element("line", { x1: x(index), x2: x(index), y1: y(0), y2: y(1), class: "axis" }));
      svg.append(element("text", { x: names[index].left, y: top - 10 - row * names[index].level, class: "label" }, axis.label));
      const room = (index < axes.length - 1 ? x(index + 1) - x(index) : width - x(index)) - 10;
      for (const tick of axis.ticks) {
        const text = element("text", { x: x(index) + 5, y: y(tick.at) + 4, class: "tick" }, cut(tick.text, room));
        text.append(element("title", {}, tick.text));
        svg.append(text);
      }
    });
    holder.querySelector("svg")?.remove();
    holder.append(svg);
  }

  return (holder, axes, lines) => {
    const isNew = !drawn.has(holder);
    drawn.set(holder, { axes, lines, width: null });
    if (isNew) resized.observe(holder);
    redraw(holder);
  };
})();
