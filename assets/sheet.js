/** The 3-D sheet: projection, cells from far to near, walls, axes, and paths draped over it. */

import { buildMesh, HEIGHT, MESH, prepare, sample } from './field.js';
import { HIDDEN, PEN_UP, Trace } from './ink.js';
import { clamp, niceTicks } from './text.js';

export const sheet = {
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
  },

  /**
   * Paints the sheet for the present camera: cells from far to near (a height field needs
   * no sorting), then the two near walls and the base axes. @returns {object} its geometry
   */
  paintSurface(ctx, w, h) {
    const { field, theme } = this, ready = prepare(field);
    const mesh = (ready.mesh ??= buildMesh(ready.fine)), { v, nx, ny, colour } = mesh;
    const size = (w < 520 ? 12 : 13) * theme.type;
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
  },

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
  },

  /** Draws ticks and names along the two near base edges, outside the base. */
  paintBaseAxes(ctx, { put, ca, sa }, size) {
    const { field, theme } = this, near = ca > 0 ? 0 : 1, left = sa > 0 ? 0 : 1;
    const edge = (range, name, at, out) => {
      const label = (text, p, away) => {
        const [x0, y0] = at(p, 0), [x1, y1] = at(p, out), d = Math.hypot(x1 - x0, y1 - y0) || 1, right = (x1 - x0) / d;
        // A long name must grow away from the edge, or it covers the ticks.
        const beside = away > 30 ? Math.max(0, ctx.measureText(text).width / 2 - 24) * right : 0;
        ctx.fillText(text, x0 + right * away + beside, y0 + ((y1 - y0) / d) * away * 0.8 + 4);
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
  },

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
  },

  /** Moves the camera and asks for a frame. */
  turn(change) {
    if (this.packet?.mode !== 'surface') return;
    const camera = Object.assign(this.camera, change);
    camera.elevation = clamp(camera.elevation, Math.PI / 18, (Math.PI * 85) / 180);
    camera.zoom = clamp(camera.zoom, 0.6, 3);
    this.dirty = true;
    this.schedule();
  },
};

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
