/** A field of losses made ready to draw: its scale, a refined grid, contour lines, a picture, and a coarse sheet for 3-D. */

import { LUT } from './ink.js';
import { clamp } from './text.js';

export const LEVELS = 16;
export const MESH = 64;
export const HEIGHT = 0.55;

/**
 * Maps loss values to 0..1 and back. The log scale starts at the value that the lowest
 * 2 % of the area lie under: valleys stay visible and one grid point that happens to
 * hit the minimum does not stretch the scale. The linear scale stops at fences around
 * the 2nd and 98th percentile, so that one spike does not flatten the rest.
 * @param {Float32Array} z @param {boolean} log
 */
export function lossScale(z, log) {
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
export function refineRows(src, nx, ny, k) {
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
export function sample(grid, u, w) {
  if (!(u >= 0 && u <= 1 && w >= 0 && w <= 1)) return NaN;
  const { v, nx, ny } = grid;
  const x = u * (nx - 1), y = w * (ny - 1);
  const i = Math.min(nx - 2, Math.floor(x)), j = Math.min(ny - 2, Math.floor(y));
  const fx = x - i, fy = y - j, o = j * nx + i;
  const low = v[o] + (v[o + 1] - v[o]) * fx, high = v[o + nx] + (v[o + nx + 1] - v[o + nx]) * fx;
  return low + (high - low) * fy;
}

/** Adds the segments of one level inside one cell (marching squares) to `out`, in grid units scaled by sx and sy. */
function crossCell(out, t, i, j, [a, b, c, d], sx, sy) {
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

const hit = new Float64Array(8);
const corners = new Float64Array(4);

/**
 * Visits every cell of a grid whose corners are finite.
 * @param {function(number, number, Float64Array, number, number)} visit column, row, corners, their least and greatest
 */
function eachCell({ v, nx, ny }, visit) {
  for (let j = 0; j < ny - 1; j++) {
    for (let i = 0; i < nx - 1; i++) {
      const o = j * nx + i;
      corners[0] = v[o];
      corners[1] = v[o + 1];
      corners[2] = v[o + nx + 1];
      corners[3] = v[o + nx];
      const [a, b, c, d] = corners, lo = Math.min(a, b, c, d), hi = Math.max(a, b, c, d);
      if (lo === lo) visit(i, j, corners, lo, hi);
    }
  }
}

/**
 * Lines at equally spaced levels of the transformed loss.
 * @returns {Float32Array} segments x0, y0, x1, y1 in unit coordinates
 */
export function contourSegments(grid) {
  const out = [], per = LEVELS + 1, sx = 1 / (grid.nx - 1), sy = 1 / (grid.ny - 1);
  eachCell(grid, (i, j, cell, lo, hi) => {
    const last = Math.min(LEVELS, Math.floor(hi * per));
    for (let l = Math.max(1, Math.ceil(lo * per)); l <= last; l++) crossCell(out, l / per, i, j, cell, sx, sy);
  });
  return Float32Array.from(out);
}

/** The line at one level of a grid. @returns {Float32Array} segments as those of `contourSegments` */
export function segmentsAt(grid, level) {
  const out = [], sx = 1 / (grid.nx - 1), sy = 1 / (grid.ny - 1);
  eachCell(grid, (i, j, cell, lo, hi) => {
    if (lo < level && level <= hi) crossCell(out, level, i, j, cell, sx, sy);
  });
  return Float32Array.from(out);
}

/** @returns {HTMLCanvasElement} the field as a picture, one pixel per refined grid point */
export function fieldImage({ v, nx, ny }) {
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
export function buildMesh(grid) {
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
export function prepare(field) {
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
