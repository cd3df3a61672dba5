/**
 * What the server told about the surroundings of every step, drawn at the present one: arrows of the gradient and of the
 * last step, ellipses of the rule's response and of the curvature, the region in which the rule is stable; and basins,
 * a grid of starts coloured by where each ends. Arrows and ellipses of a fixed size show a direction or a shape alone.
 */

import { SHAPES } from './ink.js';
import { segmentsAt } from './field.js';

const ARROW = 52; // pixels of the gradient's arrow, and of an ellipse's longer half-axis
const TINY = 1e-300;
/** How many numbers a step of a run has under each name; the last one is a threshold. */
export const WIDTHS = { gradient: 2, step: 2, response: 3, curvature: 3, stability: 1 };

/** Square root of a symmetric 2 x 2 matrix [a, b; b, c], or of its inverse, by absolute eigenvalues. */
function root(a, b, c, inverse) {
  const mean = (a + c) / 2, off = Math.hypot((a - c) / 2, b);
  const angle = Math.atan2(2 * b, a - c) / 2, cos = Math.cos(angle), sin = Math.sin(angle);
  const [p, q] = [mean + off, mean - off].map((v) => {
    const size = Math.sqrt(Math.max(Math.abs(v), TINY));
    return inverse ? 1 / size : size;
  });
  return [p * cos * cos + q * sin * sin, (p - q) * sin * cos, p * sin * sin + q * cos * cos];
}

/** Strokes the current path on a white casing. */
function line(ctx, colour, width, dash = []) {
  ctx.lineJoin = ctx.lineCap = 'round';
  for (const [style, extra] of [['#fff', 2.4], [colour, 0]]) {
    ctx.setLineDash(extra ? [] : dash);
    ctx.strokeStyle = style;
    ctx.lineWidth = width + extra;
    ctx.stroke();
  }
  ctx.setLineDash([]);
}

export const overlays = {
  /** Draws everything that was asked for at the present step. */
  drawOverlays(ctx) {
    const { packet } = this;
    if (packet.basins) this.drawBasins(ctx);
    if (!packet.overlays.length) return;
    packet.runs.forEach((run) => {
      const i = Math.min(this.position, run.end), { around } = run;
      if (this.outside(run, i)) return;
      const at = this.geometry.place(run.u[i], run.v[i]);
      const values = (name) => around[name]?.map((block) => block[i]);
      if (around.stability && packet.mode === 'contour') this.drawRegion(ctx, run, around.stability[0][i]);
      if (around.curvature) this.drawEllipse(ctx, at, root(...values('curvature'), true), run.color, []);
      if (around.response) this.drawEllipse(ctx, at, root(...values('response'), false), run.color, [2, 5]);
      if (around.step) this.drawArrow(ctx, at, values('step'), run.color, 0, -1);
      if (around.gradient) this.drawArrow(ctx, at, values('gradient').map((v) => -v), '#111', ARROW, 1);
    });
  },

  /** @returns {number[]} a vector of the field's units in pixels; on the sheet it lies level, at any height */
  inPixels([dx, dy]) {
    const { box, view } = this.geometry, { x, y } = this.field;
    const u = dx / (x[1] - x[0]), v = dy / (y[1] - y[0]);
    if (box) return [u * box.w, -v * box.h];
    const [x0, y0] = view.put(0, 0, 0), [x1, y1] = view.put(u, v, 0);
    return [x1 - x0, y1 - y0];
  },

  /** Draws an arrow from a point, of a fixed length or, for 0, of its own; `way` -1 lets it end there. */
  drawArrow(ctx, [x, y], vector, colour, length, way) {
    let [dx, dy] = this.inPixels(vector);
    const size = Math.hypot(dx, dy);
    if (!(size > 1e-12) || !Number.isFinite(size)) return;
    const scale = length ? length / size : 1;
    [dx, dy] = [dx * scale, dy * scale];
    const [x0, y0, x1, y1] = way > 0 ? [x, y, x + dx, y + dy] : [x - dx, y - dy, x, y];
    const a = Math.atan2(dy, dx), head = Math.min(9, 0.6 * Math.hypot(dx, dy));
    ctx.beginPath();
    ctx.moveTo(x0, y0);
    ctx.lineTo(x1, y1);
    ctx.moveTo(x1 - head * Math.cos(a - 0.5), y1 - head * Math.sin(a - 0.5));
    ctx.lineTo(x1, y1);
    ctx.lineTo(x1 - head * Math.cos(a + 0.5), y1 - head * Math.sin(a + 0.5));
    line(ctx, colour, 2.4);
  },

  /** Draws the image of the unit circle under a symmetric matrix, as large as legible. */
  drawEllipse(ctx, [x, y], [a, b, c], colour, dash) {
    const points = [];
    let most = 0;
    for (let k = 0; k < 48; k++) {
      const cos = Math.cos((k * Math.PI) / 24), sin = Math.sin((k * Math.PI) / 24);
      const p = this.inPixels([a * cos + b * sin, b * cos + c * sin]);
      most = Math.max(most, Math.hypot(...p));
      points.push(p);
    }
    if (!(most > 0) || !Number.isFinite(most)) return;
    ctx.beginPath();
    for (const [dx, dy] of points) ctx.lineTo(x + (dx * ARROW) / most, y + (dy * ARROW) / most);
    ctx.closePath();
    line(ctx, colour, 2, dash);
  },

  /** Draws the border of the region where the largest curvature stays below a run's threshold. */
  drawRegion(ctx, run, threshold) {
    const { sharpness } = this.packet;
    if (!Number.isFinite(threshold) || !sharpness) return;
    if (run.region?.level !== threshold) run.region = { level: threshold, lines: segmentsAt(sharpness, threshold) };
    const { lines } = run.region, { place } = this.geometry;
    ctx.beginPath();
    for (let k = 0; k < lines.length; k += 4) {
      ctx.moveTo(...place(lines[k], lines[k + 1]));
      ctx.lineTo(...place(lines[k + 2], lines[k + 3]));
    }
    line(ctx, run.color, 2.4);
  },

  /** Draws the grid of starts: colour and shape say where each ends, a small cross that it diverges. */
  drawBasins(ctx) {
    const { x, y } = this.field;
    for (const { at, group, color } of this.packet.basins) {
      const [px, py] = this.geometry.place((at[0] - x[0]) / (x[1] - x[0]), (at[1] - y[0]) / (y[1] - y[0]));
      ctx.save();
      ctx.translate(px, py);
      ctx.beginPath();
      if (group < 0) {
        for (const s of [-1, 1]) {
          ctx.moveTo(-4, -4 * s);
          ctx.lineTo(4, 4 * s);
        }
        line(ctx, '#111', 2);
      } else {
        ctx.scale(5, 5);
        const shape = new Path2D(SHAPES[group % SHAPES.length]);
        ctx.lineWidth = 0.5;
        ctx.strokeStyle = '#fff';
        ctx.stroke(shape);
        ctx.fillStyle = color;
        ctx.fill(shape);
      }
      ctx.restore();
    }
  },
};
