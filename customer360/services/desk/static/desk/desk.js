"use strict";
// The menu on narrow screens, filters that apply when they change, and charts, for which plotly.js is loaded where one is pointed at.
(() => {
  const plotly = document.currentScript.dataset.plotly;

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-toggle]");
    if (!button) return;
    const isOpen = document.getElementById(button.dataset.toggle).classList.toggle("open");
    button.setAttribute("aria-expanded", String(isOpen));
  });
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-apply]");
    if (form) form.requestSubmit();
  });

  let library;
  const load = () => (library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = plotly;
    script.onload = () => resolve(window.Plotly);
    script.onerror = reject;
    document.head.append(script);
  }));
  let colors = {};
  const computed = (name) => {
    const probe = document.createElement("span");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  };
  const color = (name) => (colors[name] ??= computed(name));
  const merged = (base, over) => {
    for (const [key, value] of Object.entries(over)) {
      base[key] = value && typeof value === "object" && !Array.isArray(value) ? merged(base[key] ?? {}, value) : value;
    }
    return base;
  };
  const layout = (figure) => {
    const axis = { gridcolor: color("line"), linecolor: color("line"), zerolinecolor: color("line"), automargin: true };
    const unit = figure.unit === "%" ? { tickformat: ".1%" } : figure.unit ? { ticksuffix: ` ${figure.unit}` } : {};
    const values = figure.value_axis ?? "yaxis";
    const axes = { xaxis: { ...axis }, yaxis: { ...axis } };
    Object.assign(axes[values], { rangemode: "tozero", ...unit });
    return merged({
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: color("text"), family: "system-ui, sans-serif" },
      margin: { l: 48, r: 16, t: 12, b: 40 }, ...axes,
      legend: { orientation: "h", y: -0.2 }, hovermode: "x unified", hoverlabel: { bgcolor: color("card"), font: { color: color("text") } },
      colorway: Array.from({ length: 8 }, (_, number) => color(`c${number}`)),
    }, figure.layout ?? {});
  };
  // The server drew each figure; plotly.js draws the one that is pointed at, or tapped, again.
  const draw = async (element) => {
    const { newPlot } = await load();
    const figure = JSON.parse(element.dataset.figure);
    element.style.height = `${element.offsetHeight}px`;
    element.replaceChildren();
    await newPlot(element, figure.data, layout(figure), { responsive: true, displaylogo: false, displayModeBar: false });
  };
  document.addEventListener("pointerover", (event) => {
    const element = event.target.closest("[data-figure]:not([data-drawn])");
    if (!element) return;
    element.dataset.drawn = "";
    draw(element).catch(reportError);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    colors = {};
    document.querySelectorAll("[data-figure].js-plotly-plot").forEach((element) => draw(element).catch(reportError));
  });
})();
