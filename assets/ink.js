/** Colours, marker shapes and strokes that stay legible on any ground. */

export const CHUNK = 96;
export const PEN_UP = 255;
export const HIDDEN = 8;
export const FADES = 7;
export const CIVIDIS = [
  '00224e', '002d6a', '14386d', '2b446e', '42506e', '575c6d', '696970', '787573',
  '868276', '948f78', 'a49d78', 'b6ab73', 'caba6a', 'e0c95d', 'f2d950', 'fee838',
];
/** Marker outlines on a unit circle, as SVG paths, shared by the canvases and the table. */
export const SHAPES = [
  'M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0Z',
  'M-.88-.88H.88V.88H-.88Z',
  'M0-1.15L1.1.8H-1.1Z',
  'M0-1.25L1.25 0L0 1.25L-1.25 0Z',
];
export const STAR = Array.from({ length: 10 }, (_, k) => {
  const r = k % 2 ? 0.45 : 1.1, a = (k * Math.PI) / 5;
  return `${k ? 'L' : 'M'}${(r * Math.sin(a)).toFixed(3)} ${(-r * Math.cos(a)).toFixed(3)}`;
}).join('') + 'Z';

/** 256 Cividis colours as packed RGBA (for ImageData) and as CSS strings. */
export const LUT = (() => {
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

export const paths = new Map();

/** @returns {Path2D} a cached path for an SVG outline */
export function outline(d) {
  if (!paths.has(d)) paths.set(d, new Path2D(d));
  return paths.get(d);
}

/** Draws an SVG outline at a point with a white casing and a dark hairline around it. */
export function glyph(ctx, d, x, y, r, fill) {
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
export function casedStroke(ctx, colour, width) {
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
export class Trace {
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

  /** Draws the path between two recorded steps: its white casing, or its coloured line, hollow with a core. */
  draw(ctx, from, to, colour, core) {
    const a = from < 0 ? 0 : this.upto[from], b = this.upto[to];
    const solid = (s) => (s & HIDDEN ? 0 : 1 - (0.8 * s) / FADES);
    ctx.lineJoin = 'round';
    ctx.lineCap = this.faded ? 'butt' : 'round';
    ctx.strokeStyle = colour ?? '#fff';
    ctx.lineWidth = colour ? 2.2 : 4.2;
    this.stroke(ctx, a, b, colour ? solid : (s) => 0.9 * solid(s));
    if (colour) this.stroke(ctx, a, b, (s) => (s & HIDDEN ? 0.25 : 0));
    if (!core) return;
    ctx.strokeStyle = core;
    ctx.lineWidth = 0.9;
    this.stroke(ctx, a, b, solid);
  }
}
