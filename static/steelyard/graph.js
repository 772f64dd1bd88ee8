// Moves and enlarges the drawn graph: by dragging, by buttons, by keys while it has the focus, by Ctrl and the wheel.
"use strict";

(() => {
  const holder = document.querySelector("[data-graph]");
  if (!holder) return;
  const svg = holder.querySelector("svg");
  const whole = svg.viewBox.baseVal;
  const full = { x: whole.x, y: whole.y, width: whole.width, height: whole.height };
  let view = full;
  let hasBegun = false;

  // As high as it is unscaled, within reason. What does not fit at a size that can be read is moved into view by hand.
  svg.style.height = `${Math.min(Math.max(full.height + 40, 220), 620)}px`;
  // Without an area, in a tab that is not laid out yet, it has no shape to fit anything into.
  const isLaidOut = () => svg.clientWidth > 0 && svg.clientHeight > 0;
  const shape = () => (isLaidOut() ? svg.clientWidth / svg.clientHeight : full.width / full.height);
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function show(next) {
    view = next;
    svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
  }

  function around(centre, width) {
    const wide = clamp(width, 240, Math.max(full.width, full.height * shape()) * 1.6);
    const high = wide / shape();
    show({ x: centre.x - wide / 2, y: centre.y - high / 2, width: wide, height: high });
  }

  const middle = () => ({ x: view.x + view.width / 2, y: view.y + view.height / 2 });
  const fit = () => around(
    { x: full.x + full.width / 2, y: full.y + full.height / 2 }, Math.max(full.width, full.height * shape()),
  );
  const readable = 0.95;

  // The whole graph if it can be read so; else the version that the page is about, and what lies around it.
  function begin() {
    hasBegun = true;
    const width = svg.clientWidth / readable;
    const height = svg.clientHeight / readable;
    if (full.width <= width && full.height <= height) {
      fit();
      return;
    }
    const here = cornerOf(holder.querySelector(".here"));
    const within = (value, start, room, size) => (
      room <= size ? start + room / 2 : clamp(value, start + size / 2, start + room - size / 2)
    );
    around({
      x: within(here.x + here.width / 2, full.x, full.width, width),
      y: within(here.y + here.height / 2, full.y, full.height, height),
    }, width);
  }

  function cornerOf(box) {
    const { e: x, f: y } = box.transform.baseVal.consolidate().matrix;
    const { width, height } = box.querySelector("rect").getBBox();
    return { x, y, width, height };
  }

  const zoom = (factor) => around(middle(), view.width * factor);
  const move = (x, y) => show({ ...view, x: view.x + x * view.width, y: view.y + y * view.height });

  // Zooming keeps the point under the pointer where it is.
  function zoomAt(event, factor) {
    const area = svg.getBoundingClientRect();
    const at = { x: (event.clientX - area.left) / area.width, y: (event.clientY - area.top) / area.height };
    const point = { x: view.x + at.x * view.width, y: view.y + at.y * view.height };
    zoom(factor);
    show({ ...view, x: point.x - at.x * view.width, y: point.y - at.y * view.height });
  }

  const buttons = { in: () => zoom(0.8), out: () => zoom(1.25), fit };
  for (const button of holder.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", buttons[button.dataset.zoom]);
  }

  const keys = {
    ArrowLeft: () => move(-0.1, 0),
    ArrowRight: () => move(0.1, 0),
    ArrowUp: () => move(0, -0.1),
    ArrowDown: () => move(0, 0.1),
    "+": buttons.in,
    "=": buttons.in,
    "-": buttons.out,
    0: fit,
  };
  svg.addEventListener("keydown", (event) => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? undefined : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  svg.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls as everywhere else
    event.preventDefault();
    zoomAt(event, Math.exp(clamp(event.deltaY, -50, 50) * 0.005));
  }, { passive: false });

  // A box that is reached with the Tab key is brought into view.
  svg.addEventListener("focusin", (event) => {
    const box = event.target.closest("a");
    if (!box || !box.matches(":focus-visible")) return;
    const { x, y, width, height } = cornerOf(box);
    const isShown = x >= view.x && y >= view.y && x + width <= view.x + view.width && y + height <= view.y + view.height;
    if (!isShown) around({ x: x + width / 2, y: y + height / 2 }, view.width);
  });

  // A press that moves is a drag, and opens nothing; one that does not is a click.
  const slack = 4;
  let drag = null;
  svg.addEventListener("pointerdown", (event) => {
    if (event.button === 0) drag = { x: event.clientX, y: event.clientY, from: view, hasMoved: false };
  });
  svg.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const x = event.clientX - drag.x;
    const y = event.clientY - drag.y;
    if (!drag.hasMoved && Math.hypot(x, y) < slack) return;
    if (!drag.hasMoved) svg.setPointerCapture(event.pointerId);
    drag.hasMoved = true;
    const scale = view.width / svg.clientWidth;
    show({ ...view, x: drag.from.x - x * scale, y: drag.from.y - y * scale });
  });
  for (const end of ["pointerup", "pointercancel"]) {
    svg.addEventListener(end, () => {
      if (drag?.hasMoved) svg.addEventListener("click", (click) => click.preventDefault(), { capture: true, once: true });
      drag = null;
    });
  }
  svg.addEventListener("dragstart", (event) => event.preventDefault());

  new ResizeObserver(() => {
    if (!isLaidOut()) return;
    if (hasBegun) around(middle(), view.width);
    else begin();
  }).observe(svg);
})();
