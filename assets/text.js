/** Numbers as people read them, and round places for ticks. */

export const clamp = (v, lo, hi) => (v < lo ? lo : v > hi ? hi : v);

/** @param {number} v @returns {string} a loss value in at most eight characters */
export function compact(v) {
  if (!Number.isFinite(v)) return '—';
  const a = Math.abs(v);
  if (a === 0) return '0';
  if (a < 0.1 || a >= 99999.5) return v.toExponential(2).replace('e+', 'e');
  return a >= 100 ? v.toFixed(0) : v.toPrecision(3);
}

/** @param {number} v @returns {string} a short tick label */
export function tickText(v) {
  const a = Math.abs(v);
  if (a === 0) return '0';
  if (a >= 1e-3 && a < 1e5) return String(parseFloat(v.toPrecision(3)));
  const [m, e] = v.toExponential(1).split('e');
  return `${parseFloat(m)}e${parseInt(e, 10)}`;
}

/** @param {number} k @returns {string} a power of ten with a superscript exponent */
export const power = (k) => `10${String(k).replace(/./g, (c) => (c === '-' ? '⁻' : '⁰¹²³⁴⁵⁶⁷⁸⁹'[+c]))}`;

/**
 * Round tick positions inside an interval.
 * @param {number} lo @param {number} hi @param {number} count wished number of ticks
 * @returns {{value: number, text: string}[]}
 */
export function niceTicks(lo, hi, count) {
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
