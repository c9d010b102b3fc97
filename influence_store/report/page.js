"use strict";
// Draws what stands in #data. Charts are SVG whose colours are CSS variables; the map is a canvas,
// for twenty thousand points, and is drawn again when its size or the colours change.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;

  const drawn = Object.entries(data.charts).map(([name, spec]) =>
    vegaEmbed(document.querySelector(`[data-chart="${CSS.escape(name)}"]`), spec, {
      actions: false, ast: true, renderer: "svg", defaultStyle: false, tooltip: false,
      hover: false, logLevel: 2,
    }));

  const canvas = document.getElementById("map");
  if (canvas && data.map) {
    const { x, y, tenth, selected } = data.map;
    const grid = Number(canvas.dataset.grid);
    // Those without a value first, selected ones last: what matters most lies on top.
    const order = x.map((_, k) => k)
      .sort((a, b) => selected[a] - selected[b] || tenth[a] - tenth[b] || a - b);
    const most = (values) => values.reduce((one, other) => Math.max(one, other), 1);
    const right = most(x), top = most(y);

    function draw() {
      const style = getComputedStyle(root);
      const colour = (name) => style.getPropertyValue(name).trim();
      const tenths = Array.from({ length: 11 }, (_, k) => colour(`--t${k}`));
      const box = canvas.getBoundingClientRect(), ratio = Math.max(2, window.devicePixelRatio || 1);
      canvas.width = Math.round(box.width * ratio);
      canvas.height = Math.round(box.height * ratio);
      const pen = canvas.getContext("2d");
      pen.scale(ratio, ratio);
      pen.fillStyle = colour("--paper");
      pen.fillRect(0, 0, box.width, box.height);
      const edge = 10;
      const scale = Math.min((box.width - 2 * edge) / right, (box.height - 2 * edge) / top);
      const left = (box.width - right * scale) / 2, low = (box.height + top * scale) / 2;
      const dense = x.length > 4000 ? 0.6 : x.length > 1000 ? 0.8 : 1;
      for (const k of order) {
        const size = (tenth[k] ? 1.6 + 0.22 * tenth[k] : 1.8) * dense;
        const px = left + x[k] * scale, py = low - y[k] * scale;
        pen.fillStyle = tenths[tenth[k]];
        pen.beginPath();
        if (selected[k]) diamond(pen, px, py, size + 3 * dense);
        else pen.arc(px, py, size, 0, 2 * Math.PI);
        pen.fill();
        if (selected[k] || !tenth[k]) {
          pen.strokeStyle = colour(selected[k] ? "--ink" : "--soft");
          pen.lineWidth = selected[k] ? 1.2 : 0.8;
          pen.stroke();
        }
      }
      canvas.dataset.drawn = String(order.length);
    }

    function diamond(pen, px, py, size) {
      pen.moveTo(px, py - size); pen.lineTo(px + size, py); pen.lineTo(px, py + size);
      pen.lineTo(px - size, py); pen.closePath();
    }

    function onPaper(is) { root.toggleAttribute("data-paper", is); draw(); }

    draw();
    let width = canvas.clientWidth;
    new ResizeObserver(() => {
      if (canvas.clientWidth !== width) { width = canvas.clientWidth; draw(); }
    }).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    addEventListener("beforeprint", () => onPaper(true));
    addEventListener("afterprint", () => onPaper(false));
  }

  // On paper every table is open; afterwards it is as it was.
  const shut = () => [...document.querySelectorAll("details:not([open])")];
  let opened = [];
  addEventListener("beforeprint", () => { opened = shut(); opened.forEach((one) => { one.open = true; }); });
  addEventListener("afterprint", () => { opened.forEach((one) => { one.open = false; }); opened = []; });

  Promise.all(drawn).then(() => { root.dataset.drawn = String(drawn.length); });
})();
