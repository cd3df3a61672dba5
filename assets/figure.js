/** A Plotly figure that is updated in place: zoom, pan and camera stay when new data arrive. */

const NARROW = 520; // pixels
const DOUBLE = 300; // milliseconds between the clicks of a double click, as Plotly counts them
const BELOW = 190; // pixels that a tall screen keeps for what stands below a figure, where it does not say
const SQUARE = 0.8; // of its width: a figure that grows with the screen becomes no taller
let loading = null;

/** Plotly's script, loaded once a page from the app itself. */
export function plotly() {
  loading ??= new Promise((resolve, reject) => {
    if (window.Plotly?.react) return resolve(window.Plotly);
    const script = document.createElement("script");
    script.src = new URL("plotly.min.js", import.meta.url).href;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      loading = null;
      reject(new Error("Plotly's script did not load. Reload the page to try again."));
    };
    document.head.append(script);
  });
  return loading;
}

/** Colours of the page's theme, for text, grid and background; in present mode its large type. */
function themed(layout, host) {
  const style = getComputedStyle(host), type = Number(style.getPropertyValue("--rv-type")) || 1;
  const color = (name, fallback) => style.getPropertyValue(name).trim() || fallback;
  const text = color("--st-text-color", "#31333f");
  const grid = color("--st-border-color", "rgba(128,128,128,0.3)");
  const out = { ...layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)" };
  const size = (layout.font?.size ?? 14) * type;
  out.font = { ...layout.font, size, color: text, family: color("--st-font", "sans-serif") };
  out.modebar = { bgcolor: "rgba(0,0,0,0)", color: "rgba(128,128,128,0.8)", activecolor: text };
  const full = layout.height ?? 450, scrolled = host.closest("[data-testid=stMain]")?.scrollTop ?? window.scrollY;
  const room = window.innerHeight - host.getBoundingClientRect().top - scrolled;
  if (type > 1) {
    // Read from the back row, and on one screen without scrolling.
    out.height = Math.max(340, 0.75 * full, Math.min(full, room - 24));
    out.margin = { ...layout.margin, l: (layout.margin?.l ?? 70) * 1.25, b: (layout.margin?.b ?? 50) * 1.25 };
    out.legend = { ...layout.legend, font: { size: 0.85 * size } };
    out.annotations = layout.annotations?.map((one) => ({ ...one, font: { ...one.font, size: (one.font?.size ?? 14) * type } }));
  } else if (host.clientWidth > NARROW) out.height = Math.max(full, Math.min(SQUARE * host.clientWidth, room - (layout.meta?.below ?? BELOW)));
  for (const key of Object.keys(layout)) {
    if (!/^[xy]axis\d*$/.test(key)) continue;
    out[key] = { ...layout[key], gridcolor: grid, zerolinecolor: grid, linecolor: grid };
    const title = layout[key].title;
    if (type > 1 && title?.font?.size) out[key].title = { ...title, font: { ...title.font, size: title.font.size * type } };
  }
  return out;
}

/** In present mode lines are seen from the back row too. */
function bold(traces, host) {
  const type = Number(getComputedStyle(host).getPropertyValue("--rv-type")) || 1;
  if (type === 1) return traces;
  const wide = (one, part, by) => (typeof one[part]?.[by] === "number" ? { [part]: { ...one[part], [by]: one[part][by] * type } } : {});
  return traces.map((one) => (one.type === "scatter" ? { ...one, ...wide(one, "line", "width"), ...wide(one, "marker", "size") } : one));
}

/** On a narrow screen the scales of the colours lie below the picture, which else is half of it; so do long legends. */
function narrowed(traces, layout) {
  const bars = traces.filter((trace) => trace.colorbar && trace.showscale !== false);
  if (!bars.length && window.innerWidth < 640 && traces.some((trace) => trace.type === "scatter")) {
    const entries = traces.filter((trace) => trace.name && trace.showlegend !== false).length;
    const height = (layout.height ?? 450) + 14 * entries;
    return { ...layout, height, legend: { ...layout.legend, y: -64 / (height - 90), yanchor: "top" } };
  }
  bars.forEach((trace, k) => {
    const title = { ...(typeof trace.colorbar.title === "string" ? { text: trace.colorbar.title } : trace.colorbar.title), side: "top" };
    trace.colorbar = { ...trace.colorbar, title, orientation: "h", x: 0.5, xanchor: "center", y: -0.17 - 0.24 * k, yanchor: "top", len: 1, thickness: 10, nticks: 5, tickangle: 0 };
    if (trace.colorbar.tickvals) delete trace.colorbar.nticks;
  });
  const below = 90 * bars.length;
  return bars.length ? { ...layout, height: (layout.height ?? 450) + below - 60, margin: { ...layout.margin, b: 50 + below } } : layout;
}

/**
 * Tell the page of a point that was clicked, of a part that was zoomed into, in the figure's own numbers and with the name
 * of its x axis, and of a double click, which asks for the whole.
 */
function listen(host, setTriggerValue) {
  const value = (axis, one) => (axis.type === "log" ? 10 ** one : Number(one));
  host.removeAllListeners("plotly_click");
  host.removeAllListeners("plotly_relayout");
  host.removeAllListeners("plotly_doubleclick");
  host.on("plotly_doubleclick", () => setTriggerValue("whole", true));
  host.on("plotly_click", ({ points: [point] }) => setTriggerValue("point", { x: point.x, y: point.y }));
  host.on("plotly_relayout", (change) => {
    const axis = Object.keys(change).find((key) => /^xaxis\d*\.range\[0\]$/.test(key))?.split(".")[0];
    if (!axis) return;
    const across = host._fullLayout[axis], up = host._fullLayout[across.anchor.replace("y", "yaxis")];
    const ends = (one) => one.range.map((end) => value(one, end));
    setTriggerValue("range", { x: ends(across), y: ends(up), axis });
  });
}

/**
 * Tell the page which run was clicked, where a trace says whose it is, and at which step: once it is clear that the click is
 * no half of a double click, of which Plotly tells both halves.
 */
function clicks(host, setTriggerValue) {
  host.clicked ??= { waiting: 0, doubled: -DOUBLE };
  host.removeAllListeners("plotly_click");
  host.removeAllListeners("plotly_doubleclick");
  host.on("plotly_doubleclick", () => {
    host.clicked.doubled = performance.now();
    clearTimeout(host.clicked.waiting);
  });
  host.on("plotly_click", ({ points: [{ x, data: trace }] }) => {
    if (!Number.isInteger(trace.meta) || performance.now() - host.clicked.doubled < DOUBLE) return;
    clearTimeout(host.clicked.waiting);
    host.clicked.waiting = setTimeout(() => {
      setTriggerValue("click", { step: x, run: trace.meta });
      if (host.layout.meta?.answer) reveal(`.st-key-${host.layout.meta.answer}`);
    }, DOUBLE);
  });
}

/** Scroll to what answers a click where it would come out of sight, as on a phone: once it is there, and once it has its picture. */
async function reveal(selector) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches, picture = ":is(.rv-figure[data-v], [data-testid=stAlert])";
  for (const ready of [selector, `${selector} ${picture}`]) {
    for (let tries = 0; tries < 100 && !document.querySelector(ready); tries += 1) await new Promise((resolve) => setTimeout(resolve, 100));
    const found = document.querySelector(selector);
    if (found && found.getBoundingClientRect().top > 0.5 * window.innerHeight) found.scrollIntoView({ behavior: still ? "auto" : "smooth" });
  }
}

/** A tap is one click: not one more as the mouse that the browser plays for it, which Plotly would take for a double click. */
function tap(event) {
  if (event.cancelable && event.target.closest?.(".drag")) event.preventDefault();
}

/** Redraw when the room beside or around the figure changes, of which Plotly itself hears only with the window. */
function follow(host) {
  let drawn = 0;
  new ResizeObserver(() => {
    const width = host.clientWidth;
    if (!width || width === drawn) return;
    drawn = width;
    if (host.layout) window.Plotly.Plots.resize(host);
  }).observe(host);
}

/**
 * @param {{data: Uint8Array, parentElement: Element}} component data is a Plotly figure as JSON; empty, it only fetches
 *   Plotly, so that the first figure need not wait for it
 */
export default function figure({ data, parentElement, setTriggerValue }, drawn = (host) => clicks(host, setTriggerValue), free = true) {
  if (!data?.length) {
    plotly().catch(() => null); // the first figure will try again and say what is wrong
    return () => {};
  }
  let host = parentElement.querySelector(".rv-figure");
  if (!host) {
    host = document.createElement("div");
    host.className = "rv-figure";
    parentElement.append(host);
    host.addEventListener("touchend", tap, { passive: false });
    follow(host);
  }
  const { data: traces, layout: given } = JSON.parse(new TextDecoder().decode(data));
  const layout = (parentElement.clientWidth || Infinity) < NARROW ? narrowed(traces, given) : given;
  // A finger that moves across a figure scrolls the page, until it asks for the zoom.
  if (free && matchMedia("(pointer: coarse)").matches) layout.dragmode = false;
  // No button that hands the figure to another machine.
  const config = { displaylogo: false, plotlyServerURL: "", modeBarButtonsToRemove: ["select2d", "lasso2d", "sendChartToCloud"] };
  host.style.minHeight = `${layout.height ?? 450}px`;
  delete layout.template;
  plotly()
    .then((Plotly) => Plotly.react(host, bold(traces, host), themed(layout, host), config))
    .then(() => {
      drawn(host);
      host.dataset.v = String(Number(host.dataset.v ?? 0) + 1);
    })
    .catch((failure) => {
      host.textContent = failure.message;
    });
  return () => {};
}

/** The same, and the page hears of clicks and zooms. */
export function map(component) {
  return figure(component, (host) => listen(host, component.setTriggerValue), false);
}
