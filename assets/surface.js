/**
 * Ravine's loss surface: a field of loss values as a contour map or a 3-D sheet,
 * optimizer paths on it, playback, a loss chart and a table of runs.
 *
 * Two packets feed it. `field` stores the heavy grid once; the default export draws
 * a light view packet that names its field by id, so that a new path costs no grid.
 * A packet is: uint32 LE header length | JSON header | float32 LE blocks.
 */

const FIELD_LIMIT = 8;
const LEVELS = 16;
const MESH = 64;
const HEIGHT = 0.55;
const RUN_SECONDS = 5;
const WIDE = 1000;
const SIDE = 300;
const DOTS_BELOW = 60;
const CHUNK = 96;
const PEN_UP = 255;
const HIDDEN = 8;
const FADES = 7;
const CAMERA = { azimuth: -0.62, elevation: 0.76, zoom: 1 };
const CIVIDIS = [
  '00224e', '002d6a', '14386d', '2b446e', '42506e', '575c6d', '696970', '787573',
  '868276', '948f78', 'a49d78', 'b6ab73', 'caba6a', 'e0c95d', 'f2d950', 'fee838',
];
/** Marker outlines on a unit circle, as SVG paths, shared by the canvases and the table. */
const SHAPES = [
  'M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0Z',
  'M-.88-.88H.88V.88H-.88Z',
  'M0-1.15L1.1.8H-1.1Z',
  'M0-1.25L1.25 0L0 1.25L-1.25 0Z',
];
const STAR = Array.from({ length: 10 }, (_, k) => {
  const r = k % 2 ? 0.45 : 1.1, a = (k * Math.PI) / 5;
  return `${k ? 'L' : 'M'}${(r * Math.sin(a)).toFixed(3)} ${(-r * Math.cos(a)).toFixed(3)}`;
}).join('') + 'Z';

/**
 * Streamlit may import this file more than once under different addresses, so the
 * fields live on the page rather than in one copy of the module.
 */
const shared = (globalThis[Symbol.for('ravine.surface')] ??= { fields: new Map(), waiters: new Set() });
const views = new WeakMap();

// ---------------------------------------------------------------- small helpers

const clamp = (v, lo, hi) => (v < lo ? lo : v > hi ? hi : v);

/** @param {number} v @returns {string} a loss value in at most eight characters */
function compact(v) {
  if (!Number.isFinite(v)) return '—';
  const a = Math.abs(v);
  if (a === 0) return '0';
  if (a < 0.1 || a >= 99999.5) return v.toExponential(2).replace('e+', 'e');
  return a >= 100 ? v.toFixed(0) : v.toPrecision(3);
}

/** @param {number} v @returns {string} a short tick label */
function tickText(v) {
  const a = Math.abs(v);
  if (a === 0) return '0';
  if (a >= 1e-3 && a < 1e5) return String(parseFloat(v.toPrecision(3)));
  const [m, e] = v.toExponential(1).split('e');
  return `${parseFloat(m)}e${parseInt(e, 10)}`;
}

/** @param {number} k @returns {string} a power of ten with a superscript exponent */
const power = (k) => `10${String(k).replace(/./g, (c) => (c === '-' ? '⁻' : '⁰¹²³⁴⁵⁶⁷⁸⁹'[+c]))}`;

/**
 * Round tick positions inside an interval.
 * @param {number} lo @param {number} hi @param {number} count wished number of ticks
 * @returns {{value: number, text: string}[]}
 */
function niceTicks(lo, hi, count) {
  const span = hi - lo;
  if (!(span > 0) || !Number.isFinite(span)) return [{ value: lo, text: tickText(lo) }];
  const raw = span / Math.max(1, count);
  const base = 10 ** Math.floor(Math.log10(raw));
  const step = base * [1, 2, 5, 10].find((m) => m * base >= raw * 0.999);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const plain = digits <= 4 && Math.max(Math.abs(lo), Math.abs(hi)) < 1e5;
  const ticks = [];
  for (let k = Math.ceil(lo / step - 1e-9); k * step <= hi + step * 1e-9; k++) {
    const value = k === 0 ? 0 : k * step;
    ticks.push({ value, text: plain ? value.toFixed(digits) : tickText(value) });
  }
  return ticks;
}

/**
 * Splits a packet into its JSON header and its floats.
 * @param {Uint8Array|ArrayBuffer} data
 * @returns {{header: object, floats: Float32Array}}
 */
function decode(data) {
  const bytes = asBytes(data);
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const block = bytes.slice(4 + length); // a copy, because Float32Array needs aligned bytes
  return { header, floats: new Float32Array(block.buffer, 0, block.byteLength >> 2) };
}

/** @param {Uint8Array|ArrayBuffer} data @returns {Uint8Array} */
const asBytes = (data) => (data instanceof Uint8Array ? data : new Uint8Array(data));

/** @returns {boolean} whether two packets hold the same bytes */
function sameBytes(a, b) {
  if (a === b) return true;
  if (!a || !b || a.length !== b.length) return false;
  for (let k = 0; k < a.length; k++) if (a[k] !== b[k]) return false;
  return true;
}

/** @param {string} id @returns {object|undefined} a stored field, marked as recently used */
function takeField(id) {
  const found = shared.fields.get(id);
  if (found) {
    shared.fields.delete(id);
    shared.fields.set(id, found);
  }
  return found;
}

/** 256 Cividis colours as packed RGBA (for ImageData) and as CSS strings. */
const LUT = (() => {
  const packed = new Uint32Array(256), css = [], rgb = [];
  for (let k = 0; k < 256; k++) {
    const p = (k / 255) * (CIVIDIS.length - 1), i = Math.min(CIVIDIS.length - 2, Math.floor(p));
    const [a, b] = [CIVIDIS[i], CIVIDIS[i + 1]].map((hex) => parseInt(hex, 16));
    const mix = [16, 8, 0].map((s) => Math.round(((a >> s) & 255) * (1 - p + i) + ((b >> s) & 255) * (p - i)));
    packed[k] = ((255 << 24) | (mix[2] << 16) | (mix[1] << 8) | mix[0]) >>> 0;
    css.push(`rgb(${mix})`);
    rgb.push(mix);
  }
  return { packed, css, rgb };
})();

// ---------------------------------------------------------------- the field

/**
 * Maps loss values to 0..1 and back. The log scale starts at the value that the lowest
 * 2 % of the area lie under: valleys stay visible and one grid point that happens to
 * hit the minimum does not stretch the scale. The linear scale stops at fences around
 * the 2nd and 98th percentile, so that one spike does not flatten the rest.
 * @param {Float32Array} z @param {boolean} log
 */
function lossScale(z, log) {
  const sorted = z.filter(Number.isFinite).sort();
  const at = (p) => sorted[Math.round(p * (sorted.length - 1))] ?? 0;
  const min = at(0), max = at(1);
  if (log) {
    const span = at(0.995) - min || 1;
    const eps = clamp(at(0.02) - min, 1e-6 * span, 1e-2 * span);
    const a = Math.log10(eps), b = Math.log10(span + eps);
    return {
      min, max, log,
      to: (v) => (Math.log10(Math.max(v - min, 0) + eps) - a) / (b - a),
      from: (t) => min + 10 ** (a + t * (b - a)) - eps,
    };
  }
  const margin = 0.25 * (at(0.98) - at(0.02));
  const lo = Math.max(min, at(0.02) - margin), range = Math.min(max, at(0.98) + margin) - lo || 1;
  return { min, max, log, to: (v) => (v - lo) / range, from: (t) => lo + t * range };
}

/**
 * Refines every row k times with a Catmull-Rom spline and returns the transpose, so
 * that two calls refine both directions. Beside a gap it falls back to fewer points.
 */
function refineRows(src, nx, ny, k) {
  const mx = (nx - 1) * k + 1, out = new Float32Array(mx * ny);
  for (let j = 0; j < ny; j++) {
    const row = j * nx;
    for (let i = 0; i < mx; i++) {
      const c = Math.min(nx - 2, Math.floor(i / k)), t = i / k - c;
      const p1 = src[row + c], p2 = src[row + c + 1];
      let v;
      if (t === 0) v = p1;
      else if (t === 1) v = p2;
      else if (p1 !== p1 || p2 !== p2) v = t < 0.5 ? p1 : p2;
      else {
        const a = c > 0 ? src[row + c - 1] : 2 * p1 - p2, d = c < nx - 2 ? src[row + c + 2] : 2 * p2 - p1;
        const p0 = a === a ? a : p1, p3 = d === d ? d : p2;
        v = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)));
      }
      out[i * ny + j] = v;
    }
  }
  return out;
}

/**
 * Bilinear value of a grid at unit coordinates; NaN beside a gap or outside.
 * @param {{v: Float32Array, nx: number, ny: number}} grid
 */
function sample(grid, u, w) {
  if (!(u >= 0 && u <= 1 && w >= 0 && w <= 1)) return NaN;
  const { v, nx, ny } = grid;
  const x = u * (nx - 1), y = w * (ny - 1);
  const i = Math.min(nx - 2, Math.floor(x)), j = Math.min(ny - 2, Math.floor(y));
  const fx = x - i, fy = y - j, o = j * nx + i;
  const low = v[o] + (v[o + 1] - v[o]) * fx, high = v[o + nx] + (v[o + nx + 1] - v[o + nx]) * fx;
  return low + (high - low) * fy;
}

/**
 * Marching squares at equally spaced levels of the transformed loss.
 * @returns {Float32Array} segments x0, y0, x1, y1 in unit coordinates
 */
function contourSegments({ v, nx, ny }) {
  const out = [], per = LEVELS + 1, sx = 1 / (nx - 1), sy = 1 / (ny - 1), hit = new Float64Array(8);
  for (let j = 0; j < ny - 1; j++) {
    for (let i = 0; i < nx - 1; i++) {
      const o = j * nx + i, a = v[o], b = v[o + 1], c = v[o + nx + 1], d = v[o + nx];
      const lo = Math.min(a, b, c, d), hi = Math.max(a, b, c, d);
      if (lo !== lo) continue;
      const last = Math.min(LEVELS, Math.floor(hi * per));
      for (let l = Math.max(1, Math.ceil(lo * per)); l <= last; l++) {
        const t = l / per;
        let n = 0;
        if (a < t !== b < t) { hit[n++] = i + (t - a) / (b - a); hit[n++] = j; }
        if (b < t !== c < t) { hit[n++] = i + 1; hit[n++] = j + (t - b) / (c - b); }
        if (c < t !== d < t) { hit[n++] = i + (t - d) / (c - d); hit[n++] = j + 1; }
        if (d < t !== a < t) { hit[n++] = i; hit[n++] = j + (t - a) / (d - a); }
        // Four crossings are a saddle: the mean decides which corners belong together.
        const turn = n === 8 && (a + b + c + d) / 4 < t === a < t ? 2 : 0;
        for (let k = 0; k + 3 < n; k += 4) {
          const p = (k + turn) % n, q = (k + turn + 2) % n;
          out.push(hit[p] * sx, hit[p + 1] * sy, hit[q] * sx, hit[q + 1] * sy);
        }
      }
    }
  }
  return Float32Array.from(out);
}

/** @returns {HTMLCanvasElement} the field as a picture, one pixel per refined grid point */
function fieldImage({ v, nx, ny }) {
  const canvas = document.createElement('canvas');
  canvas.width = nx;
  canvas.height = ny;
  const ctx = canvas.getContext('2d'), image = ctx.createImageData(nx, ny);
  const pixels = new Uint32Array(image.data.buffer);
  for (let j = 0; j < ny; j++) {
    for (let i = 0, o = (ny - 1 - j) * nx; i < nx; i++, o++) {
      const t = v[j * nx + i];
      if (t === t) pixels[o] = LUT.packed[Math.round(clamp(t, 0, 1) * 255)];
    }
  }
  ctx.putImageData(image, 0, 0);
  return canvas;
}

/** @returns {object} the coarse sheet of the 3-D view: heights 0..1 and shaded cell colours */
function buildMesh(grid) {
  const cx = Math.min(MESH, grid.nx - 1), cy = Math.min(MESH, grid.ny - 1), nx = cx + 1, ny = cy + 1;
  const v = new Float32Array(nx * ny), colour = new Array(cx * cy);
  for (let j = 0; j < ny; j++) {
    for (let i = 0; i < nx; i++) {
      const t = sample(grid, i / cx, j / cy);
      v[j * nx + i] = t === t ? clamp(t, 0, 1) : NaN;
    }
  }
  for (let j = 0; j < cy; j++) {
    for (let i = 0; i < cx; i++) {
      const o = j * nx + i, a = v[o], b = v[o + 1], c = v[o + nx], d = v[o + nx + 1], mean = (a + b + c + d) / 4;
      if (mean !== mean) continue;
      const gx = ((b + d - a - c) / 2) * cx * HEIGHT, gy = ((c + d - a - b) / 2) * cy * HEIGHT;
      const light = (0.45 * gx - 0.35 * gy + 0.82) / Math.hypot(gx, gy, 1);
      const shade = 0.7 + 0.34 * clamp(light, 0, 1);
      colour[j * cx + i] = `rgb(${LUT.rgb[Math.round(mean * 255)].map((p) => Math.min(255, Math.round(p * shade)))})`;
    }
  }
  return { v, nx, ny, colour };
}

/**
 * What drawing needs of a field, computed once. Transformed values are limited before
 * they are refined, because a spline overshoots badly beside a value like 1e30.
 */
function prepare(field) {
  if (field.ready) return field.ready;
  const { nx, ny, z } = field, scale = lossScale(z, field.log);
  const t = new Float32Array(nx * ny);
  for (let o = 0; o < t.length; o++) t[o] = Number.isFinite(z[o]) ? clamp(scale.to(z[o]), -0.3, 1.3) : NaN;
  const k = clamp(Math.floor(320 / Math.max(nx - 1, ny - 1, 1)), 1, 4);
  const mx = (nx - 1) * k + 1, my = (ny - 1) * k + 1;
  const fine = { v: refineRows(refineRows(t, nx, ny, k), ny, mx, k), nx: mx, ny: my };
  field.ready = { scale, fine, holes: t.includes(NaN), image: fieldImage(fine), lines: null, mesh: null };
  return field.ready;
}

// ---------------------------------------------------------------- drawing primitives

const paths = new Map();

/** @returns {Path2D} a cached path for an SVG outline */
function outline(d) {
  if (!paths.has(d)) paths.set(d, new Path2D(d));
  return paths.get(d);
}

/** Draws an SVG outline at a point with a white casing and a dark hairline around it. */
function glyph(ctx, d, x, y, r, fill) {
  ctx.save();
  ctx.translate(x, y);
  ctx.scale(r, r);
  ctx.lineJoin = 'round';
  ctx.strokeStyle = 'rgba(0,0,0,.55)';
  ctx.lineWidth = 5 / r;
  ctx.stroke(outline(d));
  ctx.strokeStyle = '#fff';
  ctx.lineWidth = 3.4 / r;
  ctx.stroke(outline(d));
  ctx.fillStyle = fill;
  ctx.fill(outline(d));
  ctx.restore();
}

/** Strokes the current path as a cross or chevron: dark hairline, white casing, colour. */
function casedStroke(ctx, colour, width) {
  ctx.lineCap = ctx.lineJoin = 'round';
  for (const [style, w] of [['rgba(0,0,0,.55)', width + 4.4], ['#fff', width + 3], [colour, width]]) {
    ctx.strokeStyle = style;
    ctx.lineWidth = w;
    ctx.stroke();
  }
}

/**
 * A polyline ready to draw. `style[k]` belongs to the piece that ends at vertex k: a fade
 * level, plus HIDDEN behind the surface, or PEN_UP for no piece. `upto[i]` is the number
 * of vertices that recorded step i has reached.
 */
class Trace {
  constructor(steps, faded) {
    this.faded = faded; // round caps would show as dots on translucent pieces
    this.points = [];
    this.marks = [];
    this.upto = new Int32Array(steps);
  }

  /** Adds a vertex. */
  add(x, y, style) {
    this.points.push(x, y);
    this.marks.push(style);
  }

  /** Packs the lists for drawing. @returns {Trace} */
  seal() {
    this.points = Float32Array.from(this.points);
    this.marks = Uint8Array.from(this.marks);
    return this;
  }

  /**
   * Strokes the pieces after vertex `from` that `pick` accepts, with the alpha that it
   * returns. In chunks: the cost of one stroke grows faster than its length when a path
   * crosses itself a lot.
   */
  stroke(ctx, from, count, pick) {
    const { points, marks } = this;
    for (let a = Math.max(1, from); a < count;) {
      const style = marks[a], most = Math.min(count, a + CHUNK);
      let b = a + 1;
      while (b < most && marks[b] === style) b++;
      const alpha = style === PEN_UP ? 0 : pick(style);
      if (alpha > 0) {
        ctx.globalAlpha = alpha;
        ctx.beginPath();
        ctx.moveTo(points[2 * a - 2], points[2 * a - 1]);
        for (let k = a; k < b; k++) ctx.lineTo(points[2 * k], points[2 * k + 1]);
        ctx.stroke();
      }
      a = b;
    }
    ctx.globalAlpha = 1;
  }

  /** Draws the path between two recorded steps: its white casing, or its coloured line. */
  draw(ctx, from, to, colour) {
    const a = from < 0 ? 0 : this.upto[from], b = this.upto[to];
    const solid = (s) => (s & HIDDEN ? 0 : 1 - (0.8 * s) / FADES);
    ctx.lineJoin = 'round';
    ctx.lineCap = this.faded ? 'butt' : 'round';
    ctx.strokeStyle = colour ?? '#fff';
    ctx.lineWidth = colour ? 2.2 : 4.2;
    this.stroke(ctx, a, b, colour ? solid : (s) => 0.9 * solid(s));
    if (colour) this.stroke(ctx, a, b, (s) => (s & HIDDEN ? 0.25 : 0));
  }
}

// ---------------------------------------------------------------- page structure

const CSS = `
.rv-root{--text:var(--st-text-color,#262730);--bg:var(--st-background-color,#fff);--soft:var(--st-secondary-background-color,#f0f2f6);
  --accent:var(--st-primary-color,#0060a8);--line:var(--st-border-color,color-mix(in srgb,var(--text) 22%,transparent));
  --muted:color-mix(in srgb,var(--text) 74%,var(--bg));--warn:color-mix(in srgb,#d55e00 72%,var(--text));
  box-sizing:border-box;width:100%;display:grid;gap:12px 24px;grid-template-columns:minmax(0,1fr);align-items:start;
  color:var(--text);font:400 15px/1.35 var(--st-font,system-ui,sans-serif)}
.rv-root *{box-sizing:border-box}
.rv-root.rv-wide{grid-template-columns:minmax(0,1fr) ${SIDE}px}
.rv-stage{position:relative;margin-bottom:10px}
.rv-root canvas{display:block;border-radius:6px}
.rv-map{cursor:crosshair;touch-action:manipulation}
.rv-root[data-mode=surface] .rv-map{cursor:grab;touch-action:pan-y}
.rv-root[data-mode=surface] .rv-map:active{cursor:grabbing}
.rv-loss{cursor:ew-resize;touch-action:pan-y}
.rv-root :focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.rv-readout,.rv-notice{position:absolute;pointer-events:none;padding:3px 8px;border-radius:5px;font-size:13px;
  font-variant-numeric:tabular-nums;background:color-mix(in srgb,var(--bg) 90%,transparent);color:var(--text)}
.rv-notice{left:50%;top:50%;transform:translate(-50%,-50%);font-size:15px}
.rv-readout[hidden],.rv-notice[hidden]{display:none}
.rv-bar{display:flex;flex-wrap:wrap;align-items:center;justify-content:space-between;gap:8px 14px;min-height:40px}
.rv-play,.rv-speed{font:inherit;color:inherit;background:var(--soft);border:1px solid var(--line);border-radius:8px;height:40px;cursor:pointer}
.rv-play{display:inline-flex;align-items:center;justify-content:center;gap:8px;width:98px}
.rv-play:hover,.rv-speed:hover{border-color:var(--accent)}
.rv-play:disabled{opacity:.5;cursor:default}
.rv-play svg{width:13px;height:13px;fill:currentColor}
.rv-speed{padding:0 6px;background:var(--bg)}
.rv-seek{flex:1 1 150px;min-width:0;height:28px;margin:0;appearance:none;-webkit-appearance:none;background:none;cursor:pointer}
.rv-seek::-webkit-slider-runnable-track{height:6px;border-radius:3px;
  background:linear-gradient(to right,var(--accent) var(--at,0%),color-mix(in srgb,var(--text) 22%,var(--bg)) var(--at,0%))}
.rv-seek::-moz-range-track{height:6px;border-radius:3px;background:color-mix(in srgb,var(--text) 22%,var(--bg))}
.rv-seek::-moz-range-progress{height:6px;border-radius:3px;background:var(--accent)}
.rv-seek::-webkit-slider-thumb{-webkit-appearance:none;width:18px;height:18px;margin-top:-6px;border-radius:50%;background:var(--accent);border:2px solid var(--bg)}
.rv-seek::-moz-range-thumb{width:14px;height:14px;border-radius:50%;background:var(--accent);border:2px solid var(--bg)}
.rv-step{min-width:9.5em;text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.rv-loop{display:inline-flex;align-items:center;gap:6px;cursor:pointer}
.rv-loop input{accent-color:var(--accent);width:16px;height:16px;margin:0}
.rv-side{display:grid;gap:12px 24px;align-items:start;min-width:0}
.rv-root.rv-pair .rv-side{grid-template-columns:auto minmax(0,1fr)}
.rv-table{min-height:200px}
.rv-runs{width:100%;border-collapse:collapse;table-layout:fixed;font-size:14px}
.rv-runs caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.rv-runs th,.rv-runs td{padding:3px 2px;border:0;border-bottom:1px solid var(--line);text-align:left;font-weight:400;vertical-align:top;color:var(--text);height:43px}
.rv-runs thead th{font-weight:600;height:26px}
.rv-runs .rv-num{width:55%;text-align:right;font-variant-numeric:tabular-nums}
.rv-runs tbody th{padding-left:28px;position:relative}
.rv-runs svg{position:absolute;left:2px;top:5px;width:19px;height:19px;overflow:visible}
.rv-runs div{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.rv-name{font-weight:600}
.rv-detail,.rv-status{font-size:12.5px;color:var(--muted)}
.rv-status.rv-warn{color:var(--warn);font-weight:600}`;

const PLAY = 'M3 1L14 8L3 15Z', PAUSE = 'M3 1H6.5V15H3ZM9.5 1H13V15H9.5Z';

const HTML = `
<div class="rv-main">
  <div class="rv-stage">
    <canvas class="rv-map" tabindex="0" role="application"></canvas>
    <div class="rv-readout" aria-hidden="true" hidden></div>
    <div class="rv-notice" role="status">Preparing the surface…</div>
  </div>
  <div class="rv-bar" role="group" aria-label="Playback">
    <button type="button" class="rv-play" aria-label="Play"><svg viewBox="0 0 16 16" aria-hidden="true"><path d="${PLAY}"/></svg><span>Play</span></button>
    <input type="range" class="rv-seek" aria-label="Step" min="0" max="0" value="0">
    <span class="rv-step" aria-hidden="true"></span>
    <select class="rv-speed" aria-label="Playback speed"><option value="0.5">0.5×</option><option value="1" selected>1×</option><option value="2">2×</option><option value="4">4×</option></select>
    <label class="rv-loop"><input type="checkbox">Loop</label>
  </div>
</div>
<div class="rv-side">
  <canvas class="rv-loss" role="img"></canvas>
  <div class="rv-table"><table class="rv-runs"><caption>Runs</caption>
    <thead><tr><th scope="col">Run</th><th scope="col" class="rv-num"></th></tr></thead><tbody></tbody></table></div>
</div>`;

let serial = 0;

/** One drawn component: its DOM, its current packet and field, camera and playback. */
class View {
  /** @param {ShadowRoot|Element} parent */
  constructor(parent) {
    parent.querySelector('.rv-root')?.remove(); // left by another copy of this module
    this.root = document.createElement('div');
    this.root.className = 'rv-root';
    this.root.innerHTML = `<style>${CSS}</style>${HTML}`;
    parent.append(this.root);
    const find = (name) => this.root.querySelector(name);
    this.map = find('.rv-map');
    this.loss = find('.rv-loss');
    this.readout = find('.rv-readout');
    this.notice = find('.rv-notice');
    this.play = find('.rv-play');
    this.seek = find('.rv-seek');
    this.stepText = find('.rv-step');
    this.speed = find('.rv-speed');
    this.loop = find('.rv-loop input');
    this.tbody = find('tbody');
    this.lossHead = find('thead .rv-num');
    Object.assign(this, {
      bytes: null, incoming: null, packet: null, field: null, fresh: false, fonts: 0,
      start: null, nudge: 0, owed: false, position: 0, clock: 0, playing: false, frame: 0,
      camera: { ...CAMERA }, layers: {}, traces: null, trail: { key: '', at: 0, canvases: [0, 1].map(() => document.createElement('canvas')) }, width: 0, version: 0, attached: null,
    });
    Object.assign(this.root.dataset, { v: 0, field: '', position: 0, mode: 'contour', playing: false });
    // Labels are baked into cached pictures, so draw them again once the fonts are there.
    if (document.fonts?.status === 'loading') {
      document.fonts.ready.then(() => {
        this.fonts++;
        if (this.attached) this.render();
      });
    }
  }

  // -------------------------------------------------------------- life cycle

  /** Registers all listeners once. @returns {object} a token that `detach` asks for */
  attach() {
    if (this.attached) return this.attached;
    const stop = new AbortController();
    const on = (target, type, fn, options) => target.addEventListener(type, fn, { signal: stop.signal, ...options });
    on(this.play, 'click', () => this.toggle());
    on(this.seek, 'input', () => this.scrub(Number(this.seek.value)));
    on(this.root, 'keydown', (e) => this.rootKey(e));
    on(this.map, 'keydown', (e) => this.mapKey(e));
    on(this.map, 'pointerdown', (e) => this.press(e));
    on(this.map, 'pointermove', (e) => this.move(e));
    on(this.map, 'pointerup', (e) => this.release(e));
    on(this.map, 'pointercancel', () => (this.held = null));
    on(this.map, 'pointerleave', () => (this.readout.hidden = true));
    on(this.map, 'dblclick', () => this.turn({ ...CAMERA }));
    on(this.map, 'wheel', (e) => this.wheel(e), { passive: false });
    on(this.loss, 'pointerdown', (e) => {
      this.loss.setPointerCapture(e.pointerId);
      this.scrubAt(e.offsetX);
    });
    on(this.loss, 'pointermove', (e) => this.loss.hasPointerCapture(e.pointerId) && this.scrubAt(e.offsetX));
    const resize = new ResizeObserver(() => {
      if (this.fresh || this.root.clientWidth !== this.width) this.render();
    });
    resize.observe(this.root);
    stop.signal.addEventListener('abort', () => resize.disconnect());
    if (this.owed) this.sendLater();
    this.attached = stop;
    if (this.playing) this.schedule();
    return stop;
  }

  /** Undoes `attach`, unless a newer call has attached again. Playback resumes with it. */
  detach(token) {
    if (this.attached !== token) return;
    token.abort();
    this.attached = null;
    shared.waiters.delete(this);
    clearTimeout(this.nudge);
    cancelAnimationFrame(this.frame);
    this.nudge = this.frame = 0;
  }

  /** Takes a packet, if it is a new one, and draws in this very call. */
  receive(data) {
    const bytes = data ? asBytes(data) : null;
    if (bytes && !sameBytes(bytes, this.bytes)) {
      this.bytes = bytes;
      this.incoming = decode(bytes);
    }
    if (this.incoming) this.settle();
    else this.render();
  }

  /** Switches to the incoming packet if its field is there; else keeps the old picture. */
  settle() {
    const id = this.incoming.header.field, field = takeField(id) ?? (this.field?.id === id ? this.field : null);
    if (!field) {
      shared.waiters.add(this);
      this.notice.hidden = Boolean(this.packet);
      this.render();
      return;
    }
    shared.waiters.delete(this);
    this.field = field;
    this.adopt(this.incoming);
    this.incoming = null;
    this.notice.hidden = true;
    this.fresh = true;
    this.render();
  }

  /** Unpacks the runs of a packet into unit coordinates of the field's window. */
  adopt({ header, floats }) {
    const n = header.rows, { x, y } = this.field, steps = header.steps;
    let at = 0;
    const block = () => floats.subarray(at, (at += n));
    const runs = header.runs.map((info) => {
      const run = { ...info, u: new Float32Array(n), v: new Float32Array(n), end: n - 1 };
      const xs = block(), ys = block();
      run.loss = block();
      run.fade = header.fade ? Uint8Array.from(block(), (d) => Math.round(clamp(d || 0, 0, 1) * FADES)) : null;
      for (let i = 0; i < n; i++) {
        let u = (xs[i] - x[0]) / (x[1] - x[0]) - 0.5, v = (ys[i] - y[0]) / (y[1] - y[0]) - 0.5;
        // Canvases mishandle huge coordinates; far points move in along the ray from the centre.
        const pull = Math.max(1, Math.abs(u) / 50, Math.abs(v) / 50);
        run.u[i] = u / pull + 0.5;
        run.v[i] = v / pull + 0.5;
      }
      if (info.diverged != null) {
        const first = steps.findIndex((s) => s >= info.diverged);
        if (first >= 0) run.end = first;
      }
      return run;
    });
    this.packet = { unit: 'step', ...header, runs, serial: ++serial, last: n - 1 };
    this.packet.chart = this.chartRange();
    if (!this.owed) this.start = header.start;
    this.position = this.playing ? 0 : n - 1;
    this.clock = this.position;
    this.lossHead.textContent = header.curve || 'Loss';
    this.fillTable();
  }

  /** Lays out, then draws everything; announces the first picture of new data. */
  render() {
    this.readTheme();
    if (!this.layout() || !this.packet) return;
    const { dataset } = this.root;
    dataset.mode = this.packet.mode;
    this.draw();
    this.sync();
    if (!this.fresh) return;
    this.fresh = false;
    dataset.field = this.field.id;
    dataset.v = ++this.version;
    const which = `${this.field.label} over ${this.field.names.join(' and ')}`;
    const keys = this.packet.mode === 'surface' ? 'Arrow keys rotate'
      : this.packet.clickable ? 'Click or use the arrow keys to move the start point' : 'Contour map';
    this.map.setAttribute('aria-label', `${which}. ${keys}; space plays the runs.`);
    window.dispatchEvent(new CustomEvent('ravine:drawn', { detail: { at: performance.now(), v: this.version } }));
  }

  /** Reads Streamlit's theme from the CSS variables on the host. */
  readTheme() {
    const css = getComputedStyle(this.root);
    const get = (name, fallback) => css.getPropertyValue(name).trim() || fallback;
    this.theme = {
      text: get('--st-text-color', '#262730'),
      back: get('--st-background-color', '#ffffff'),
      font: get('--st-font', 'system-ui, sans-serif'),
    };
    this.look = Object.values(this.theme).join() + this.fonts;
  }

  /** Sizes the canvases. @returns {boolean} false while the component has no width */
  layout() {
    const width = this.root.clientWidth;
    if (!width) return false;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    if (width === this.width && ratio === this.ratio) return true;
    this.width = width;
    this.ratio = ratio;
    const wide = width > WIDE, pair = !wide && width >= 640;
    this.root.classList.toggle('rv-wide', wide);
    this.root.classList.toggle('rv-pair', pair);
    const main = wide ? width - SIDE - 24 : width;
    // What the page needs above and below the picture, so that picture, playback and curves fit one screen.
    const room = window.innerHeight - (wide ? 200 : pair ? 350 : 260);
    this.resize(this.map, main, Math.round(clamp(Math.min(0.72 * main, room), 340, 700)));
    this.resize(this.loss, wide ? SIDE : pair ? Math.round(0.54 * (width - 24)) : width, wide ? 290 : 200);
    return true;
  }

  /** Sets a canvas to a size in CSS pixels. */
  resize(canvas, w, h) {
    canvas.style.width = `${w}px`;
    canvas.style.height = `${h}px`;
    canvas.width = Math.round(w * this.ratio);
    canvas.height = Math.round(h * this.ratio);
  }

  /**
   * A cached picture of the size of `canvas`, painted again only when its key changes.
   * @returns {{picture: HTMLCanvasElement, key: string, geometry: any}}
   */
  layer(name, canvas, key, paint) {
    const full = [key, canvas.width, canvas.height, this.look].join('|');
    const old = this.layers[name];
    if (old?.key === full) return old;
    const picture = old?.picture ?? document.createElement('canvas');
    picture.width = canvas.width;
    picture.height = canvas.height;
    const ctx = picture.getContext('2d');
    ctx.scale(this.ratio, this.ratio);
    const w = canvas.width / this.ratio, h = canvas.height / this.ratio;
    return (this.layers[name] = { key: full, picture, geometry: paint(ctx, w, h) });
  }

  // -------------------------------------------------------------- main picture

  /** Draws the cached background, then paths, start point and markers. */
  draw() {
    const { packet, field, map } = this, ctx = map.getContext('2d');
    const surface = packet.mode === 'surface', { azimuth, elevation, zoom } = this.camera;
    const layer = surface
      ? this.layer('surface', map, [field.serial, azimuth, elevation, zoom], (c, w, h) => this.paintSurface(c, w, h))
      : this.layer('contour', map, field.serial, (c, w, h) => this.paintContour(c, w, h));
    const geometry = (this.geometry = layer.geometry), { clip } = geometry;
    const key = `${layer.key}|${packet.serial}`;
    if (this.traces?.key !== key) {
      this.traces = { key, list: packet.runs.map((run) => (surface ? this.drape(run) : this.lay(run))) };
    }
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.globalCompositeOperation = 'copy';
    ctx.drawImage(layer.picture, 0, 0);
    ctx.globalCompositeOperation = 'source-over';
    ctx.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    ctx.save();
    ctx.beginPath();
    ctx.rect(clip.l, clip.t, clip.w, clip.h);
    ctx.clip();
    this.drawPaths(ctx);
    if (!surface) for (const run of packet.runs) this.drawDots(ctx, run);
    this.drawStart(ctx);
    packet.runs.forEach((run, k) => this.drawMarker(ctx, run, k));
    ctx.restore();
  }

  /**
   * Draws all casings, then all lines. While playing they collect on two canvases of their
   * own, so that a frame costs only the steps that are new in it.
   */
  drawPaths(ctx) {
    const { map, packet, position: to, traces, trail } = this;
    let casing = ctx, lines = ctx, from = -1;
    if (this.playing) {
      if (trail.key === traces.key && trail.at <= to) from = trail.at;
      else {
        for (const canvas of trail.canvases) {
          canvas.width = map.width;
          canvas.height = map.height;
          canvas.getContext('2d').scale(this.ratio, this.ratio);
        }
      }
      [casing, lines] = trail.canvases.map((canvas) => canvas.getContext('2d'));
      Object.assign(trail, { key: traces.key, at: to });
    }
    for (const trace of traces.list) trace.draw(casing, from, to);
    packet.runs.forEach((run, k) => traces.list[k].draw(lines, from, to, run.color));
    if (!this.playing) return;
    for (const canvas of trail.canvases) ctx.drawImage(canvas, 0, 0, map.width / this.ratio, map.height / this.ratio);
  }

  /** Paints the contour map with axes and colour bar. @returns {object} its geometry */
  paintContour(ctx, w, h) {
    const { field, theme } = this, { scale, fine, holes, image } = prepare(field);
    field.ready.lines ??= contourSegments(fine);
    const size = w < 520 ? 12 : 13;
    ctx.font = `${size}px ${theme.font}`;
    const xTicks = niceTicks(...field.x, w / 100), yTicks = niceTicks(...field.y, h / 75);
    const l = Math.ceil(Math.max(...yTicks.map((t) => ctx.measureText(t.text).width)) + size + 18), t = size + 11;
    const bar = this.colourBar(ctx, scale, h - t - 2 * size - 20);
    const box = { l, t, w: w - l - bar.width, h: h - t - 2 * size - 20 };

    if (holes) this.hatch(ctx, () => ctx.fillRect(box.l, box.t, box.w, box.h));
    ctx.imageSmoothingQuality = 'high';
    ctx.drawImage(image, 0.5, 0.5, image.width - 1, image.height - 1, box.l, box.t, box.w, box.h);
    const { lines } = field.ready;
    ctx.strokeStyle = 'rgba(255,255,255,.42)';
    ctx.lineWidth = 0.9;
    for (let k = 0; k < lines.length;) {
      ctx.beginPath();
      for (const end = Math.min(lines.length, k + 4 * CHUNK); k < end; k += 4) {
        ctx.moveTo(box.l + lines[k] * box.w, box.t + (1 - lines[k + 1]) * box.h);
        ctx.lineTo(box.l + lines[k + 2] * box.w, box.t + (1 - lines[k + 3]) * box.h);
      }
      ctx.stroke();
    }

    const place = (u, v) => [box.l + u * box.w, box.t + (1 - v) * box.h];
    ctx.strokeStyle = ctx.fillStyle = theme.text;
    ctx.lineWidth = 1;
    ctx.textAlign = 'center';
    ctx.textBaseline = 'top';
    const bottom = box.t + box.h;
    ctx.beginPath();
    for (const { value, text } of xTicks) {
      const [x] = place((value - field.x[0]) / (field.x[1] - field.x[0]), 0);
      ctx.moveTo(x, bottom);
      ctx.lineTo(x, bottom + 4);
      ctx.fillText(text, clamp(x, 12, w - 12), bottom + 7);
    }
    ctx.textAlign = 'right';
    ctx.textBaseline = 'middle';
    for (const { value, text } of yTicks) {
      const [, y] = place(0, (value - field.y[0]) / (field.y[1] - field.y[0]));
      ctx.moveTo(box.l - 4, y);
      ctx.lineTo(box.l, y);
      ctx.fillText(text, box.l - 8, y);
    }
    ctx.globalAlpha = 0.6;
    ctx.stroke();
    ctx.strokeRect(box.l, box.t, box.w, box.h);
    ctx.globalAlpha = 1;
    ctx.textAlign = 'center';
    ctx.font = `600 ${size}px ${theme.font}`;
    ctx.fillText(field.names[0], box.l + box.w / 2, h - size / 2 - 2);
    ctx.save();
    ctx.translate(size / 2 + 2, box.t + box.h / 2);
    ctx.rotate(-Math.PI / 2);
    ctx.fillText(field.names[1], 0, 0);
    ctx.restore();
    bar.paint(box.l + box.w + 14, box.t, w);
    for (const [u, v] of this.minimizers()) glyph(ctx, STAR, ...place(u, v), 7, '#111');
    return { clip: box, box, place };
  }

  /** @returns {number[][]} the field's minimizers inside the window, in unit coordinates */
  minimizers() {
    const { x, y, minimizers } = this.field;
    return (minimizers ?? [])
      .map((p) => [(p[0] - x[0]) / (x[1] - x[0]), (p[1] - y[0]) / (y[1] - y[0])])
      .filter(([u, v]) => u >= 0 && u <= 1 && v >= 0 && v <= 1);
  }

  /** Fills a shape with the grey hatching that stands for "not finite". */
  hatch(ctx, fill) {
    const tile = document.createElement('canvas');
    tile.width = tile.height = 10;
    const t = tile.getContext('2d');
    t.fillStyle = '#9a9a9a';
    t.fillRect(0, 0, 10, 10);
    t.strokeStyle = '#d6d6d6';
    t.lineWidth = 2;
    t.beginPath();
    for (const s of [-10, 0, 10]) {
      t.moveTo(s - 1, 11);
      t.lineTo(s + 11, -1);
    }
    t.stroke();
    ctx.fillStyle = ctx.createPattern(tile, 'repeat');
    fill();
  }

  /**
   * Measures a colour bar and returns how to paint it. Ticks stand at even places of
   * the colour scale and are rounded to as few digits as their place allows.
   */
  colourBar(ctx, scale, height) {
    const count = clamp(Math.floor(height / 52), 2, 9);
    let ticks = [];
    if (scale.log) {
      for (let k = 0; k <= count; k++) {
        const t = k / count, z = scale.from(t);
        const base = 10 ** Math.floor(Math.log10(Math.abs(z) || 1));
        const value = [0, ...[1, 2, 5, 10].map((m) => Math.sign(z) * m * base), ...[1, 2, 3].map((p) => Number(z.toPrecision(p)))]
          .find((c) => c >= scale.min * 0.999 - 1e-12 && Math.abs(scale.to(c) - t) < 0.3 / count);
        if (value !== undefined) ticks.push({ value, text: tickText(value) });
      }
    } else ticks = niceTicks(scale.from(0), scale.from(1), height / 36);
    ticks = ticks.map((tick) => ({ ...tick, t: scale.to(tick.value) })).filter(({ t }) => t > -0.02 && t < 1.02);
    const width = Math.ceil(14 + 12 + 7 + Math.max(16, ...ticks.map(({ text }) => ctx.measureText(text).width)) + 2);
    const { font } = ctx;
    const paint = (x, y, right) => {
      for (let k = 0; k < height; k++) {
        ctx.fillStyle = LUT.css[Math.round(255 * (1 - k / height))];
        ctx.fillRect(x, y + k, 12, Math.min(1.5, height - k));
      }
      ctx.font = font;
      ctx.fillStyle = this.theme.text;
      ctx.textAlign = 'left';
      ctx.textBaseline = 'middle';
      for (const { t, text } of ticks) {
        const ty = y + height * (1 - clamp(t, 0, 1));
        ctx.fillRect(x + 12, ty - 0.5, 4, 1);
        ctx.fillText(text, x + 19, ty);
      }
      ctx.textAlign = 'right';
      ctx.textBaseline = 'bottom';
      ctx.font = `600 ${font}`;
      ctx.fillText(this.field.label, right - 2, y - 9);
    };
    return { width, paint };
  }

  /** Lays a run on the contour map, dropping points that move less than half a pixel. */
  lay(run) {
    const trace = new Trace(this.packet.rows, this.packet.fade), { place } = this.geometry;
    let px = NaN, py = NaN, lift = true;
    for (let i = 0; i <= run.end; i++) {
      const [x, y] = place(run.u[i], run.v[i]);
      if (x !== x || y !== y) lift = true;
      else if (lift || Math.abs(x - px) + Math.abs(y - py) > 0.5) {
        trace.add(x, y, lift ? PEN_UP : run.fade?.[i] ?? 0);
        [px, py, lift] = [x, y, false];
      }
      trace.upto[i] = trace.marks.length;
    }
    trace.upto.fill(trace.marks.length, run.end);
    return trace.seal();
  }

  /** Draws small dots at the recorded steps while they are few enough to tell apart. */
  drawDots(ctx, run) {
    const n = Math.min(this.position, run.end);
    if (n >= DOTS_BELOW) return;
    for (let i = 1; i < n; i++) {
      const [x, y] = this.geometry.place(run.u[i], run.v[i]);
      if (this.outside(run, i)) continue;
      ctx.globalAlpha = 1 - (0.8 * (run.fade?.[i] ?? 0)) / FADES;
      for (const [r, style] of [[3.2, '#fff'], [2.3, run.color]]) {
        ctx.fillStyle = style;
        ctx.beginPath();
        ctx.arc(x, y, r, 0, 7);
        ctx.fill();
      }
    }
    ctx.globalAlpha = 1;
  }

  /** @returns {boolean} whether a run's recorded point lies outside the window */
  outside(run, i) {
    const u = run.u[i], v = run.v[i];
    return !(u >= 0 && u <= 1 && v >= 0 && v <= 1);
  }

  /** Draws the start point as a ring. */
  drawStart(ctx) {
    if (!this.start) return;
    const { x, y } = this.field;
    const u = (this.start[0] - x[0]) / (x[1] - x[0]), v = (this.start[1] - y[0]) / (y[1] - y[0]);
    if (!(u >= 0 && u <= 1 && v >= 0 && v <= 1)) return;
    ctx.beginPath();
    ctx.arc(...this.geometry.place(u, v), 8.5, 0, 7);
    for (const [style, width] of [['rgba(0,0,0,.75)', 5.4], ['#fff', 3]]) {
      ctx.strokeStyle = style;
      ctx.lineWidth = width;
      ctx.stroke();
    }
  }

  /**
   * Draws a run's current point: its shape, a cross behind it once it has diverged, and
   * a chevron at the border that points to it when it is outside the window.
   */
  drawMarker(ctx, run, k) {
    const i = Math.min(this.position, run.end), { clip } = this.geometry;
    if (run.u[i] !== run.u[i]) return;
    let [x, y] = this.geometry.place(run.u[i], run.v[i]);
    if (this.outside(run, i) && this.packet.mode === 'contour') {
      const bx = clamp(x, clip.l + 28, clip.l + clip.w - 28), by = clamp(y, clip.t + 28, clip.t + clip.h - 28);
      const a = Math.atan2(y - by, x - bx), tip = [bx + 24 * Math.cos(a), by + 24 * Math.sin(a)];
      ctx.beginPath();
      ctx.moveTo(tip[0] - 8 * Math.cos(a - 0.7), tip[1] - 8 * Math.sin(a - 0.7));
      ctx.lineTo(...tip);
      ctx.lineTo(tip[0] - 8 * Math.cos(a + 0.7), tip[1] - 8 * Math.sin(a + 0.7));
      casedStroke(ctx, run.color, 2.6);
      [x, y] = [bx, by];
    }
    const diverged = run.diverged != null && this.position >= run.end;
    if (diverged) {
      ctx.beginPath();
      for (const s of [-1, 1]) {
        ctx.moveTo(x - 9, y - 9 * s);
        ctx.lineTo(x + 9, y + 9 * s);
      }
      casedStroke(ctx, run.color, 3);
    }
    glyph(ctx, SHAPES[k % SHAPES.length], x, y, diverged ? 4.6 : 6, run.color);
  }

  // -------------------------------------------------------------- 3-D sheet

  /**
   * Orthographic projection of unit coordinates for the present camera.
   * @returns {{put: Function, ca: number, sa: number, ce: number, se: number, clip: object}}
   */
  projection(w, h, side) {
    const { azimuth, elevation, zoom } = this.camera;
    const ca = Math.cos(azimuth), sa = Math.sin(azimuth), ce = Math.cos(elevation), se = Math.sin(elevation);
    const room = w - side;
    const s = zoom * Math.min((room - 56) / 1.42, (h - 84) / (1.42 * se + HEIGHT * ce));
    const cx = room / 2, cy = h / 2 + (s * HEIGHT * ce) / 2 - 6;
    const put = (u, v, t) => {
      const a = u - 0.5, b = v - 0.5;
      return [cx + s * (a * ca - b * sa), cy - s * ((a * sa + b * ca) * se + t * HEIGHT * ce)];
    };
    return { put, ca, sa, ce, se, clip: { l: 0, t: 0, w: room, h } };
  }

  /**
   * Paints the sheet for the present camera: cells from far to near (a height field needs
   * no sorting), then the two near walls and the base axes. @returns {object} its geometry
   */
  paintSurface(ctx, w, h) {
    const { field, theme } = this, ready = prepare(field);
    const mesh = (ready.mesh ??= buildMesh(ready.fine)), { v, nx, ny, colour } = mesh;
    const size = w < 520 ? 12 : 13;
    ctx.font = `${size}px ${theme.font}`;
    const bar = this.colourBar(ctx, ready.scale, Math.min(h - 90, 300));
    const view = this.projection(w, h, bar.width), { put, ca, sa, clip } = view;
    ctx.save();
    ctx.beginPath();
    ctx.rect(clip.l, clip.t, clip.w, clip.h);
    ctx.clip();

    const X = new Float32Array(nx * ny), Y = new Float32Array(nx * ny), cx = nx - 1, cy = ny - 1;
    for (let j = 0, o = 0; j < ny; j++) {
      for (let i = 0; i < nx; i++, o++) [X[o], Y[o]] = put(i / cx, j / cy, v[o] === v[o] ? v[o] : 0);
    }
    // Every cell reaches a little under its nearer neighbours, which are painted later, so
    // that no background shines through the seams. Mesh lines go along far edges only.
    const reach = (p, q, sign) => {
      const dx = q[0] - p[0], dy = q[1] - p[1], d = (sign * 0.8) / (Math.hypot(dx, dy) || 1);
      return [dx * d, dy * d];
    };
    const farU = sa > 0 ? 1 : 0, farV = ca > 0 ? nx : 0, origin = put(0, 0, 0);
    const [ux, uy] = reach(origin, put(1, 0, 0), sa > 0 ? -1 : 1), [vx, vy] = reach(origin, put(0, 1, 0), ca > 0 ? -1 : 1);
    ctx.lineWidth = 0.8;
    ctx.strokeStyle = 'rgba(0,10,30,.35)';
    const gap = [];
    for (let b = 0; b < cy; b++) {
      const j = ca > 0 ? cy - 1 - b : b;
      for (let a = 0; a < cx; a++) {
        const i = sa > 0 ? cx - 1 - a : a, o = j * nx + i, fill = colour[j * cx + i];
        if (!fill) {
          gap.push([put(i / cx, j / cy, 0), put((i + 1) / cx, j / cy, 0), put((i + 1) / cx, (j + 1) / cy, 0), put(i / cx, (j + 1) / cy, 0)]);
          continue;
        }
        const far = o + farU + farV, nearU = o + 1 - farU + farV, nearV = o + farU + nx - farV, near = o + 1 - farU + nx - farV;
        ctx.fillStyle = fill;
        ctx.beginPath();
        ctx.moveTo(X[far], Y[far]);
        ctx.lineTo(X[nearU] + ux, Y[nearU] + uy);
        ctx.lineTo(X[near] + ux + vx, Y[near] + uy + vy);
        ctx.lineTo(X[nearV] + vx, Y[nearV] + vy);
        ctx.fill();
        const alongU = (j + (farV ? 1 : 0)) % 4 === 0, alongV = (i + farU) % 4 === 0;
        if (!alongU && !alongV) continue;
        ctx.beginPath();
        ctx.moveTo(X[alongU ? nearU : far], Y[alongU ? nearU : far]);
        if (alongU) ctx.lineTo(X[far], Y[far]);
        if (alongV) ctx.lineTo(X[nearV], Y[nearV]);
        ctx.stroke();
      }
    }
    if (gap.length) {
      // Cells without a finite loss lie hatched on the floor, under the finite sheet.
      ctx.globalCompositeOperation = 'destination-over';
      ctx.beginPath();
      for (const quad of gap) quad.forEach((p, k) => (k ? ctx.lineTo(...p) : ctx.moveTo(...p)));
      this.hatch(ctx, () => ctx.fill());
      ctx.globalCompositeOperation = 'source-over';
    }
    this.paintWalls(ctx, mesh, put, ca > 0 ? 0 : 1, sa > 0 ? 0 : 1);
    this.paintBaseAxes(ctx, view, size);
    ctx.restore();
    ctx.font = `${size}px ${theme.font}`;
    bar.paint(w - bar.width + 14, 40, w);

    const lift = (u, t) => {
      const s = sample(mesh, clamp(u, 0, 1), clamp(t, 0, 1));
      return s === s ? s : 0;
    };
    const place = (u, t) => {
      const a = clamp(u, 0, 1), b = clamp(t, 0, 1);
      return put(a, b, lift(a, b));
    };
    return { clip, view, mesh, lift, place };
  }

  /** Closes the sheet with walls along its two near edges, at v = `near` and u = `left`. */
  paintWalls(ctx, { v, nx, ny }, put, near, left) {
    const wall = (count, at, style) => {
      ctx.beginPath();
      for (let k = 0; k < count; k++) ctx.lineTo(...at(k, false));
      for (let k = count - 1; k >= 0; k--) ctx.lineTo(...at(k, true));
      ctx.fillStyle = ctx.strokeStyle = style;
      ctx.fill();
      ctx.stroke();
    };
    const top = (o, low) => (low ? -0.03 : v[o] === v[o] ? v[o] : 0);
    wall(nx, (k, low) => put(k / (nx - 1), near, top(near * (ny - 1) * nx + k, low)), '#5b6373');
    wall(ny, (k, low) => put(left, k / (ny - 1), top(k * nx + left * (nx - 1), low)), '#757d8b');
  }

  /** Draws ticks and names along the two near base edges, outside the base. */
  paintBaseAxes(ctx, { put, ca, sa }, size) {
    const { field, theme } = this, near = ca > 0 ? 0 : 1, left = sa > 0 ? 0 : 1;
    const edge = (range, name, at, out) => {
      const label = (text, p, away) => {
        const [x0, y0] = at(p, 0), [x1, y1] = at(p, out), d = Math.hypot(x1 - x0, y1 - y0) || 1;
        ctx.fillText(text, x0 + ((x1 - x0) / d) * away, y0 + ((y1 - y0) / d) * away * 0.8 + 4);
      };
      ctx.beginPath();
      ctx.moveTo(...at(0, 0));
      ctx.lineTo(...at(1, 0));
      ctx.font = `${size}px ${theme.font}`;
      for (const { value, text } of niceTicks(...range, 4)) {
        const p = (value - range[0]) / (range[1] - range[0]);
        ctx.moveTo(...at(p, 0));
        ctx.lineTo(...at(p, out * 0.25));
        label(text, p, 18);
      }
      ctx.stroke();
      ctx.font = `600 ${size}px ${theme.font}`;
      label(name, 0.5, 48);
    };
    ctx.strokeStyle = ctx.fillStyle = theme.text;
    ctx.lineWidth = 1;
    ctx.textAlign = 'center';
    ctx.textBaseline = 'middle';
    const outward = (side) => (side ? 0.05 : -0.05);
    edge(field.x, field.names[0], (p, o) => put(p, near + o, -0.03), outward(near));
    edge(field.y, field.names[1], (p, o) => put(left + o, p, -0.03), outward(left));
  }

  /**
   * Drapes a run over the sheet, split at about every cell. Whether a piece is hidden is
   * tested once per camera with a ray towards the viewer, so that playback can draw over
   * the cached picture of the sheet and still be occluded rightly.
   */
  drape(run) {
    const trace = new Trace(this.packet.rows, this.packet.fade), { view, mesh, lift } = this.geometry;
    const nx = mesh.nx - 1, ny = mesh.ny - 1, rise = (view.se / view.ce / HEIGHT) * (0.8 / nx);
    const hidden = (u, v) => {
      let t = lift(u, v) + 0.012;
      for (;;) {
        u -= (view.sa * 0.8) / nx;
        v -= (view.ca * 0.8) / nx;
        t += rise;
        const s = t > 1 ? NaN : sample(mesh, u, v);
        if (s !== s) return 0;
        if (s > t) return HIDDEN;
      }
    };
    let u0 = run.u[0], v0 = run.v[0], lifted = true;
    for (let i = 1; i <= run.end; i++) {
      const du = run.u[i] - u0, dv = run.v[i] - v0;
      if (!(Math.abs(du) + Math.abs(dv) < 8e-4)) {
        const part = clipToWindow(u0, v0, du, dv);
        if (part) {
          const [a, b] = part, n = clamp(Math.ceil(Math.max(Math.abs(du) * nx, Math.abs(dv) * ny) * (b - a)), 1, 2 * MESH);
          if (lifted || a > 0) trace.add(...view.put(u0 + a * du, v0 + a * dv, lift(u0 + a * du, v0 + a * dv)), PEN_UP);
          for (let k = 1; k <= n; k++) {
            const p = a + ((b - a) * k) / n, q = p - (b - a) / n / 2;
            const u = u0 + p * du, v = v0 + p * dv;
            trace.add(...view.put(u, v, lift(u, v)), (run.fade?.[i] ?? 0) + hidden(u0 + q * du, v0 + q * dv));
          }
        }
        lifted = !part || part[1] < 1;
        [u0, v0] = [run.u[i], run.v[i]];
      }
      trace.upto[i] = trace.marks.length;
    }
    trace.upto.fill(trace.marks.length, run.end);
    return trace.seal();
  }

  /** Moves the camera and asks for a frame. */
  turn(change) {
    if (this.packet?.mode !== 'surface') return;
    const camera = Object.assign(this.camera, change);
    camera.elevation = clamp(camera.elevation, Math.PI / 18, (Math.PI * 85) / 180);
    camera.zoom = clamp(camera.zoom, 0.6, 3);
    this.dirty = true;
    this.schedule();
  }

  // -------------------------------------------------------------- input on the picture

  /** Remembers where a press began. */
  press(e) {
    if (e.button !== 0 || !e.isPrimary) return;
    this.held = { x: e.offsetX, y: e.offsetY, lastX: e.offsetX, lastY: e.offsetY, moved: false };
    this.map.setPointerCapture(e.pointerId);
  }

  /** Rotates the sheet while dragging; on the map shows the value under the pointer. */
  move(e) {
    if (!this.packet) return;
    const { held } = this;
    if (held) {
      held.moved ||= Math.hypot(e.offsetX - held.x, e.offsetY - held.y) > 4;
      const { azimuth, elevation } = this.camera;
      this.turn({ azimuth: azimuth + (e.offsetX - held.lastX) * 0.009, elevation: elevation + (e.offsetY - held.lastY) * 0.007 });
      [held.lastX, held.lastY] = [e.offsetX, e.offsetY];
    }
    const p = this.pointAt(e), { names, label, z, nx, ny } = this.field;
    this.readout.hidden = !p;
    if (!p) return;
    const loss = sample({ v: z, nx, ny }, p.u, p.v), { box } = this.geometry;
    const text = [p.x, p.y].map((v, k) => `${names[k]} = ${tickText(Number(v.toPrecision(4)))}`);
    this.readout.textContent = `${text.join(', ')}, ${label} = ${Number.isFinite(loss) ? compact(loss) : 'not finite'}`;
    const low = e.offsetX < box.l + 300 && e.offsetY < box.t + 60;
    this.readout.style.left = `${box.l + 8}px`;
    this.readout.style.top = `${low ? box.t + box.h - 36 : box.t + 8}px`;
  }

  /** A press that did not move sets the start point. */
  release(e) {
    const { held } = this;
    this.held = null;
    if (!held || held.moved || Math.hypot(e.offsetX - held.x, e.offsetY - held.y) > 4) return;
    const p = this.packet?.clickable && this.pointAt(e);
    if (!p) return;
    this.placeStart(p.x, p.y);
    this.sendStart();
  }

  /** @returns {?{u: number, v: number, x: number, y: number}} the map point under the pointer */
  pointAt(e) {
    if (this.packet?.mode !== 'contour' || !this.geometry?.box) return null;
    const { box } = this.geometry, { x, y } = this.field;
    const u = (e.offsetX - box.l) / box.w, v = 1 - (e.offsetY - box.t) / box.h;
    if (!(u >= 0 && u <= 1 && v >= 0 && v <= 1)) return null;
    return { u, v, x: x[0] + u * (x[1] - x[0]), y: y[0] + v * (y[1] - y[0]) };
  }

  /** Shows the start point at once; the server's answer follows. */
  placeStart(x, y) {
    this.start = [x, y];
    this.draw();
  }

  /** Tells the server where the start point is. */
  sendStart() {
    clearTimeout(this.nudge);
    this.owed = false;
    this.setTriggerValue?.('start', { x: this.start[0], y: this.start[1] });
  }

  /** Tells the server once the arrow keys rest. */
  sendLater() {
    this.owed = true;
    clearTimeout(this.nudge);
    this.nudge = setTimeout(() => this.sendStart(), 120);
  }

  /** Arrow keys on the picture move the start point, or rotate the sheet. */
  mapKey(e) {
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[e.key];
    if (!arrow || !this.packet || e.altKey || e.ctrlKey || e.metaKey) return;
    if (this.packet.mode === 'surface') {
      const { azimuth, elevation } = this.camera;
      this.turn({ azimuth: azimuth + 0.09 * arrow[0], elevation: elevation + 0.06 * arrow[1] });
    } else if (this.packet.clickable) {
      const { x, y } = this.field, from = this.start ?? [(x[0] + x[1]) / 2, (y[0] + y[1]) / 2];
      const next = [x, y].map((r, k) => clamp(from[k] + (arrow[k] * (r[1] - r[0])) / 50, r[0], r[1]));
      this.placeStart(...next);
      this.sendLater();
    } else return;
    e.preventDefault();
  }

  /** Space plays, except on controls that have their own use for it. */
  rootKey(e) {
    if (e.key !== ' ' || e.target.closest('button, select, [type=checkbox]')) return;
    e.preventDefault();
    this.toggle();
  }

  /** Zooms the sheet, but leaves the page's scrolling alone unless that is clearly meant. */
  wheel(e) {
    const focused = this.map.getRootNode().activeElement === this.map;
    if (this.packet?.mode !== 'surface' || !(e.ctrlKey || focused)) return;
    e.preventDefault();
    this.turn({ zoom: this.camera.zoom * Math.exp(-e.deltaY * 0.0012) });
  }

  // -------------------------------------------------------------- playback

  /** Starts or stops playback; at the end it starts over. */
  toggle() {
    if (!this.packet || this.packet.last < 1) return;
    if (!this.playing && this.position >= this.packet.last) this.seekTo(0);
    this.playing = !this.playing;
    this.clock = this.position;
    this.sync();
    if (this.playing) this.schedule();
  }

  /** Jumps to a recorded step by hand, which ends playback. */
  scrub(i) {
    this.playing = false;
    this.seekTo(i);
  }

  /** Jumps to the recorded step under a place on the loss chart. */
  scrubAt(px) {
    if (!this.packet) return;
    const { l, w } = this.chart, { steps, last } = this.packet;
    const step = steps[0] + clamp((px - l) / w, 0, 1) * (steps[last] - steps[0]);
    let i = steps.findIndex((s) => s >= step);
    if (i < 0) i = last;
    if (i > 0 && step - steps[i - 1] < steps[i] - step) i--;
    this.scrub(i);
  }

  /** Shows a recorded step. */
  seekTo(i) {
    this.position = this.clock = clamp(i, 0, this.packet.last);
    this.draw();
    this.sync();
  }

  /** Asks for one animation frame. */
  schedule() {
    if (this.frame || !this.attached) return;
    this.then = performance.now();
    this.frame = requestAnimationFrame((now) => this.tick(now));
  }

  /** One frame: advances playback by the time that passed and draws what changed. */
  tick(now) {
    this.frame = 0;
    if (!this.packet || !this.width) return;
    const { last } = this.packet;
    if (this.playing) {
      const passed = clamp(now - this.then, 0, 100) / 1000;
      this.clock += (passed * Number(this.speed.value) * last) / RUN_SECONDS;
      // A loop rests on its last step for a moment before it starts over.
      if (this.clock >= last && (!this.loop.checked || this.clock > last * 1.08)) {
        this.playing = this.loop.checked;
        this.clock = this.playing ? 0 : last;
      }
      const i = Math.min(last, Math.floor(this.clock));
      this.dirty ||= i !== this.position || !this.playing;
      this.position = i;
    }
    if (this.dirty) {
      this.dirty = false;
      this.draw();
      this.sync();
    }
    if (this.playing) {
      this.schedule();
      this.then = now;
    }
  }

  /** Brings chart, table and controls to the present position. */
  sync() {
    const { packet, position: i, playing, seek } = this, { steps, last } = packet, { dataset } = this.root;
    const text = `${packet.unit} ${steps[i]} / ${steps[last]}`;
    if (this.stepText.textContent !== text) this.stepText.textContent = text;
    seek.max = last;
    seek.value = i;
    seek.disabled = this.play.disabled = last < 1;
    seek.style.setProperty('--at', `${last ? (100 * i) / last : 100}%`);
    seek.setAttribute('aria-valuetext', text);
    if (dataset.playing !== String(playing)) {
      dataset.playing = playing;
      this.play.setAttribute('aria-label', playing ? 'Pause' : 'Play');
      this.play.querySelector('path').setAttribute('d', playing ? PAUSE : PLAY);
      this.play.querySelector('span').textContent = playing ? 'Pause' : 'Play';
    }
    dataset.position = i;
    this.drawChart();
    this.updateTable();
  }

  // -------------------------------------------------------------- loss chart and table

  /**
   * Chooses the loss axis. Logarithmic without negative losses: at most 16 decades below
   * the largest start loss, and above it at most a third of what lies below (one decade at
   * least), so that a diverging run leaves the chart instead of crushing the others.
   * Otherwise linear, limited to the values of the field and the starts plus half a span.
   */
  chartRange() {
    const { runs } = this.packet, { min, max } = prepare(this.field).scale;
    let lo = Infinity, hi = -Infinity, least = Infinity, start = -Infinity, first = Infinity;
    for (const { loss } of runs) {
      for (const v of loss) {
        if (!Number.isFinite(v)) continue;
        lo = Math.min(lo, v);
        hi = Math.max(hi, v);
        if (v > 0) least = Math.min(least, v);
      }
      if (Number.isFinite(loss[0])) [start, first] = [Math.max(start, loss[0]), Math.min(first, loss[0])];
    }
    if (!(hi >= lo)) return { log: false, lo: 0, hi: 1 };
    if (lo >= 0 && least < Infinity) {
      const top = start > 0 ? start : hi;
      const bottom = Math.log10(Math.max(least, top * 1e-16)), high = Math.log10(top);
      const cap = high + Math.max(1, 0.33 * (high - bottom));
      const end = Math.min(Math.log10(hi), cap), margin = Math.max(0.04 * (end - bottom), 0.02);
      return { log: true, lo: bottom - margin, hi: end + margin };
    }
    const low = Math.min(min, first), high = Math.max(max, start), span = high - low || 1;
    const a = Math.max(lo, low - span / 2), b = Math.min(hi, high + span / 2), margin = 0.05 * (b - a || 1);
    return { log: false, lo: a - margin, hi: b + margin };
  }

  /** @returns {{t: number, text: string}[]} ticks of the loss axis, t in 0..1 */
  lossTicks() {
    const { log, lo, hi } = this.packet.chart, t = (v) => (v - lo) / (hi - lo);
    if (!log) return niceTicks(lo, hi, 5).map(({ value, text }) => ({ t: t(value), text }));
    const ticks = [], stride = Math.max(1, Math.ceil((hi - lo) / 7)), few = hi - lo < 2.5;
    for (let k = Math.floor(lo); k <= hi; k++) {
      for (const m of few ? [1, 2, 5] : [1]) {
        const at = k + Math.log10(m);
        if (at >= lo && at <= hi && k % stride === 0) ticks.push({ t: t(at), text: few ? tickText(m * 10 ** k) : power(k) });
      }
    }
    if (ticks.length > 1) return ticks;
    return niceTicks(10 ** lo, 10 ** hi, 4).map(({ value, text }) => ({ t: t(Math.log10(value)), text }));
  }

  /** Draws the loss chart: what is played in full colour, the rest dimmed, and the cursor. */
  drawChart() {
    const { packet, loss: canvas, ratio, theme } = this, ctx = canvas.getContext('2d');
    const rest = this.layer('dim', canvas, packet.serial, (c, w, h) => this.paintChart(c, w, h, true));
    const done = this.layer('lit', canvas, packet.serial, (c, w, h) => this.paintChart(c, w, h, false));
    const { l, t, w, h, x, y } = (this.chart = rest.geometry), i = this.position, at = x(i);
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.clearRect(0, 0, canvas.width, canvas.height);
    ctx.drawImage(rest.picture, 0, 0);
    const cut = Math.round(at * ratio);
    if (cut > 0) ctx.drawImage(done.picture, 0, 0, cut, canvas.height, 0, 0, cut, canvas.height);
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.fillStyle = theme.text;
    ctx.globalAlpha = 0.55;
    ctx.fillRect(at - 0.5, t, 1, h);
    ctx.globalAlpha = 1;
    packet.runs.forEach((run, k) => {
      let p = Math.min(i, run.end);
      while (p > 0 && !Number.isFinite(run.loss[p])) p--;
      const py = clamp(y(run.loss[p]), t, t + h);
      if (py === py) glyph(ctx, SHAPES[k % SHAPES.length], clamp(x(p), l, l + w), py, 4.2, run.color);
    });
  }

  /** Paints the chart's lines, and its axes on the dimmed layer. @returns {object} geometry */
  paintChart(ctx, width, height, dim) {
    const { packet, theme } = this, { steps, last, chart } = packet, ticks = this.lossTicks();
    ctx.font = `12px ${theme.font}`;
    const l = Math.ceil(Math.max(...ticks.map((k) => ctx.measureText(k.text).width))) + 12, t = 28;
    const w = width - l - 12, h = height - t - 40, span = steps[last] - steps[0] || 1;
    const x = (i) => l + (w * (steps[i] - steps[0])) / span;
    const y = (v) => t + h * (1 - ((chart.log ? Math.log10(Math.max(v, 1e-300)) : v) - chart.lo) / (chart.hi - chart.lo));
    if (dim) {
      ctx.fillStyle = theme.text;
      ctx.textBaseline = 'middle';
      ctx.textAlign = 'right';
      for (const tick of ticks) {
        const py = t + h * (1 - tick.t);
        ctx.globalAlpha = 0.16;
        ctx.fillRect(l, py - 0.5, w, 1);
        ctx.globalAlpha = 1;
        ctx.fillText(tick.text, l - 6, py);
      }
      ctx.textAlign = 'center';
      ctx.textBaseline = 'top';
      for (const { value, text } of niceTicks(steps[0], steps[last], w / 80)) {
        if (!Number.isInteger(value)) continue;
        const px = l + (w * (value - steps[0])) / span;
        ctx.fillText(text, clamp(px, l, l + w - ctx.measureText(text).width / 2 + 8), t + h + 6);
      }
      ctx.font = `600 12px ${theme.font}`;
      ctx.fillText(packet.unit, l + w / 2, t + h + 23);
      ctx.textAlign = 'left';
      ctx.fillText(packet.curve || 'Loss', 2, 3);
    }
    ctx.beginPath();
    ctx.rect(l - 2, t - 2, w + 4, h + 4);
    ctx.clip();
    ctx.globalAlpha = dim ? 0.28 : 1;
    ctx.lineWidth = 2;
    ctx.lineJoin = 'round';
    for (const run of packet.runs) {
      let pen = false;
      ctx.strokeStyle = run.color;
      ctx.beginPath();
      for (let i = 0; i <= run.end; i++) {
        const py = clamp(y(run.loss[i]), t - 40, t + h + 40);
        if (py !== py) pen = false;
        else if (pen) ctx.lineTo(x(i), py);
        else {
          ctx.moveTo(x(i), py);
          pen = true;
        }
      }
      ctx.stroke();
    }
    return { l, t, w, h, x, y };
  }

  /** Rebuilds the rows of the table for a new packet. */
  fillTable() {
    const make = (tag, name, text) => {
      const el = document.createElement(tag);
      el.className = name;
      if (text) el.textContent = el.title = text;
      return el;
    };
    this.cells = this.packet.runs.map((run, k) => {
      const head = make('th', ''), num = make('td', 'rv-num');
      head.scope = 'row';
      head.innerHTML = `<svg viewBox="-1.5 -1.5 3 3" aria-hidden="true"><path d="${SHAPES[k % SHAPES.length]}"/></svg>`;
      head.querySelector('path').setAttribute('fill', run.color);
      head.append(make('div', 'rv-name', run.label), make('div', 'rv-detail', run.detail));
      const value = make('div', ''), status = make('div', 'rv-status');
      num.append(value, status);
      return { head, num, value, status };
    });
    this.tbody.replaceChildren(...this.cells.map(({ head, num }) => {
      const row = document.createElement('tr');
      row.append(head, num);
      return row;
    }));
  }

  /** Writes losses and states at the present position, touching only what changed. */
  updateTable() {
    const { packet, position: i } = this;
    packet.runs.forEach((run, k) => {
      const { value, status } = this.cells[k], over = run.diverged != null && i >= run.end;
      const loss = compact(run.loss[i]);
      const state = over ? `✕ ${run.ended}` : i === packet.last ? run.ended ?? '' : `${packet.unit} ${packet.steps[i]}`;
      if (value.textContent !== loss) value.textContent = loss;
      if (status.textContent === state) return;
      status.textContent = status.title = state;
      status.classList.toggle('rv-warn', over);
    });
    if (this.playing) return;
    const losses = packet.runs.map((run) => `${run.label} ${compact(run.loss[i])}`).join(', ');
    this.loss.setAttribute('aria-label', `${packet.curve || 'Loss'} at ${packet.unit} ${packet.steps[i]}: ${losses}`);
  }
}

/**
 * The part of a segment inside the unit square (Liang and Barsky).
 * @returns {?number[]} its first and last parameter, or null
 */
function clipToWindow(u, v, du, dv) {
  let a = 0, b = 1;
  for (const [p, q] of [[-du, u], [du, 1 - u], [-dv, v], [dv, 1 - v]]) {
    if (p === 0) {
      if (q < 0) return null;
    } else if (p < 0) a = Math.max(a, q / p);
    else b = Math.min(b, q / p);
  }
  return a < b ? [a, b] : null;
}

// ---------------------------------------------------------------- exports

/**
 * Stores a field packet and wakes the views that wait for it.
 * @param {{data: Uint8Array}} args
 */
export function field({ data }) {
  if (!data) return;
  const { header, floats } = decode(data), { fields } = shared;
  fields.delete(header.id);
  fields.set(header.id, { ...header, z: floats.subarray(0, header.nx * header.ny), serial: ++serial });
  while (fields.size > FIELD_LIMIT) fields.delete(fields.keys().next().value);
  for (const view of [...shared.waiters]) if (view.incoming.header.field === header.id) view.settle();
}

/**
 * Draws a view packet. Safe to call again with the same parent, with or without the
 * cleanup in between; the same data only follow a change of theme.
 * @param {{data: ?Uint8Array, parentElement: ShadowRoot|Element, setTriggerValue: Function}} args
 * @returns {Function} cleanup
 */
export default function view({ data, parentElement, setTriggerValue }) {
  let drawn = views.get(parentElement);
  if (!drawn || !parentElement.contains(drawn.root)) {
    drawn?.detach(drawn.attached);
    drawn = new View(parentElement);
    views.set(parentElement, drawn);
  }
  drawn.setTriggerValue = setTriggerValue;
  const token = drawn.attach();
  drawn.receive(data);
  return () => drawn.detach(token);
}
