/** The loss of every run over its steps. */

import { prepare } from './field.js';
import { glyph, SHAPES } from './ink.js';
import { clamp, niceTicks, power, tickText } from './text.js';

export const chart = {
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
  },

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
  },

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
  },

  /** Paints the chart's lines, and its axes on the dimmed layer. @returns {object} geometry */
  paintChart(ctx, width, height, dim) {
    const { packet, theme } = this, { steps, last, chart } = packet, ticks = this.lossTicks();
    const size = 12 * theme.type;
    ctx.font = `${size}px ${theme.font}`;
    const l = Math.ceil(Math.max(...ticks.map((k) => ctx.measureText(k.text).width))) + 12, t = 16 + size;
    const w = width - l - 12, h = height - t - 16 - 2 * size, span = steps[last] - steps[0] || 1;
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
      ctx.font = `600 ${size}px ${theme.font}`;
      ctx.fillText(packet.unit, l + w / 2, t + h + 11 + size);
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
      if (!run.twin) continue; // the second of a colour is hollow
      ctx.strokeStyle = theme.back;
      ctx.lineWidth = 0.9;
      ctx.stroke();
      ctx.lineWidth = 2;
    }
    return { l, t, w, h, x, y };
  },
};
