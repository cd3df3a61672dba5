/** The contour map: its picture, the paths laid on it, the start and the markers. */

import { contourSegments, prepare } from './field.js';
import { casedStroke, CHUNK, FADES, glyph, LUT, PEN_UP, SHAPES, STAR, Trace } from './ink.js';
import { clamp, niceTicks, tickText } from './text.js';

const DOTS_BELOW = 60;

export const contour = {
  /** Paints the contour map with axes and colour bar. @returns {object} its geometry */
  paintContour(ctx, w, h) {
    const { field, theme } = this, { scale, fine, holes, image } = prepare(field);
    field.ready.lines ??= contourSegments(fine);
    const size = (w < 520 ? 12 : 13) * theme.type;
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
  },

  /** @returns {number[][]} the field's minimizers inside the window, in unit coordinates */
  minimizers() {
    const { x, y, minimizers } = this.field;
    return (minimizers ?? [])
      .map((p) => [(p[0] - x[0]) / (x[1] - x[0]), (p[1] - y[0]) / (y[1] - y[0])])
      .filter(([u, v]) => u >= 0 && u <= 1 && v >= 0 && v <= 1);
  },

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
  },

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
  },

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
  },

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
  },

  /** @returns {boolean} whether a run's recorded point lies outside the window */
  outside(run, i) {
    const u = run.u[i], v = run.v[i];
    return !(u >= 0 && u <= 1 && v >= 0 && v <= 1);
  },

  /** Draws the named points of a slice: A, B, C. */
  drawMarks(ctx) {
    const { x, y } = this.field, size = 16 * this.theme.type;
    for (const { name, at } of this.packet.marks ?? []) {
      const u = (at[0] - x[0]) / (x[1] - x[0]), v = (at[1] - y[0]) / (y[1] - y[0]);
      if (!(u >= 0 && u <= 1 && v >= 0 && v <= 1)) continue;
      const [px, py] = this.geometry.place(u, v);
      glyph(ctx, SHAPES[3], px, py, 5, '#111');
      ctx.font = `700 ${size}px ${this.theme.font}`;
      ctx.textAlign = 'left';
      ctx.textBaseline = 'bottom';
      ctx.lineJoin = 'round';
      ctx.lineWidth = 4;
      ctx.strokeStyle = 'rgba(0,0,0,.7)';
      ctx.strokeText(name, px + 9, py - 6);
      ctx.fillStyle = '#fff';
      ctx.fillText(name, px + 9, py - 6);
    }
  },

  /** Draws the part of the plane that is about to be looked at. */
  drawBox(ctx) {
    const { u, v, side } = this.box, [l, t] = this.geometry.place(u, v + side), [r, b] = this.geometry.place(u + side, v);
    for (const [style, width] of [['rgba(0,0,0,.75)', 4], ['#fff', 2]]) {
      ctx.strokeStyle = style;
      ctx.lineWidth = width;
      ctx.strokeRect(l, t, r - l, b - t);
    }
  },

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
  },

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
  },
};
