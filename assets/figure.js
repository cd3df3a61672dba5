/** A Plotly figure that is updated in place: zoom, pan and camera stay when new data arrive. */

const NARROW = 520; // pixels
let loading = null;

/** Plotly's script, loaded once a page from the app itself. */
export function plotly() {
  loading ??= new Promise((resolve, reject) => {
    if (window.Plotly?.react) return resolve(window.Plotly);
    const script = document.createElement("script");
    script.src = new URL("../plotly.min.js", import.meta.url).href;
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
  if (type > 1) {
    // Read from the back row, and on one screen without scrolling.
    const room = window.innerHeight - host.getBoundingClientRect().top - window.scrollY - 24;
    const full = layout.height ?? 450;
    out.height = Math.max(340, 0.75 * full, Math.min(full, room));
    out.margin = { ...layout.margin, l: (layout.margin?.l ?? 70) * 1.25, b: (layout.margin?.b ?? 50) * 1.25 };
    out.legend = { ...layout.legend, font: { size: 0.85 * size } };
  }
  for (const key of Object.keys(layout)) {
    if (/^[xy]axis\d*$/.test(key)) out[key] = { ...layout[key], gridcolor: grid, zerolinecolor: grid, linecolor: grid };
  }
  return out;
}

/** On a narrow screen the scales of the colours lie below the picture, which else is half of it. */
function narrowed(traces, layout) {
  const bars = traces.filter((trace) => trace.colorbar && trace.showscale !== false);
  bars.forEach((trace, k) => {
    const title = { ...(typeof trace.colorbar.title === "string" ? { text: trace.colorbar.title } : trace.colorbar.title), side: "top" };
    trace.colorbar = { ...trace.colorbar, title, orientation: "h", x: 0.5, xanchor: "center", y: -0.17 - 0.24 * k, yanchor: "top", len: 1, thickness: 10, nticks: 5, tickangle: 0 };
    if (trace.colorbar.tickvals) delete trace.colorbar.nticks;
  });
  const below = 90 * bars.length;
  return bars.length ? { ...layout, height: (layout.height ?? 450) + below - 60, margin: { ...layout.margin, b: 50 + below } } : layout;
}

/** Tell the page of a point that was clicked, and of a part that was zoomed into, in the figure's own numbers. */
function listen(host, setTriggerValue) {
  const value = (axis, one) => (axis.type === "log" ? 10 ** one : Number(one));
  host.removeAllListeners("plotly_click");
  host.removeAllListeners("plotly_relayout");
  host.on("plotly_click", ({ points: [point] }) => setTriggerValue("point", { x: point.x, y: point.y }));
  host.on("plotly_relayout", (change) => {
    if (!("xaxis.range[0]" in change)) return;
    const { xaxis, yaxis } = host.layout;
    const ends = (axis) => axis.range.map((one) => value(axis, one));
    setTriggerValue("range", { x: ends(xaxis), y: ends(yaxis) });
  });
}

/** Tell the page which run was clicked, where a trace says whose it is, and at which step. */
function clicks(host, setTriggerValue) {
  host.removeAllListeners("plotly_click");
  host.on("plotly_click", ({ points: [{ x, data: trace }] }) => {
    if (Number.isInteger(trace.meta)) setTriggerValue("click", { step: x, run: trace.meta });
  });
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
 * @param {{data: string, parentElement: Element}} component data is a Plotly figure as JSON; empty, it only fetches
 *   Plotly, so that the first figure need not wait for it
 */
export default function figure({ data, parentElement, setTriggerValue }, drawn = (host) => clicks(host, setTriggerValue)) {
  if (!data) {
    plotly().catch(() => null); // the first figure will try again and say what is wrong
    return () => {};
  }
  let host = parentElement.querySelector(".rv-figure");
  if (!host) {
    host = document.createElement("div");
    host.className = "rv-figure";
    parentElement.append(host);
    follow(host);
  }
  const { data: traces, layout: given } = JSON.parse(data);
  const layout = (parentElement.clientWidth || Infinity) < NARROW ? narrowed(traces, given) : given;
  const config = { displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
  host.style.minHeight = `${layout.height ?? 450}px`;
  delete layout.template;
  plotly()
    .then((Plotly) => Plotly.react(host, traces, themed(layout, host), config))
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
  return figure(component, (host) => listen(host, component.setTriggerValue));
}
