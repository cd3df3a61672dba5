/** Mouse, touch and keys on the picture: the start, the camera, the value under the pointer. */

import { sample } from './field.js';
import { clamp, compact, tickText } from './text.js';

const LEAST = 0.01; // of the picture: a smaller box was none
const PATIENCE = 1500; // milliseconds until a question counts as lost

export const pointer = {
  /** Remembers where a press began. */
  press(e) {
    if (e.button !== 0 || !e.isPrimary) return;
    const grip = this.grips(e);
    if (grip) this.owed = true; // answers of the server must not move the start from under the pointer
    const corner = grip || !this.packet?.zoomable ? null : this.pointAt(e);
    this.held = { grip, corner, x: e.offsetX, y: e.offsetY, lastX: e.offsetX, lastY: e.offsetY, moved: false };
    this.map.setPointerCapture(e.pointerId);
  },

  /** Rotates the sheet while dragging; on the map shows the value under the pointer. */
  move(e) {
    if (!this.packet) return;
    const { held } = this;
    if (held) {
      held.moved ||= Math.hypot(e.offsetX - held.x, e.offsetY - held.y) > 4;
      if (held.grip) this.dragStart(e);
      if (held.corner && held.moved) this.dragBox(e);
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
  },

  /** A press that did not move sets the start point. */
  release(e) {
    const { held, box } = this;
    this.held = this.box = null;
    if (box) {
      this.draw();
      const { x, y } = this.field, part = (range, low, size) => [low, low + size].map((t) => range[0] + t * (range[1] - range[0]));
      if (box.side > LEAST) this.setTriggerValue('range', { x: part(x, box.u, box.side), y: part(y, box.v, box.side) });
      return;
    }
    if (held?.grip) {
      this.sendStart();
      return;
    }
    if (!held || held.moved || Math.hypot(e.offsetX - held.x, e.offsetY - held.y) > 4) return;
    const p = this.packet?.clickable && this.pointAt(e);
    if (!p) return;
    this.placeStart(p.x, p.y);
    this.sendStart();
  },

  /** A box from the pressed corner, with the proportions of the picture; with Shift, the whole picture as it is moved. */
  dragBox(e) {
    const { held: { corner }, geometry: { box } } = this;
    const du = (e.offsetX - box.l) / box.w - corner.u, dv = 1 - (e.offsetY - box.t) / box.h - corner.v;
    const side = Math.min(1, Math.max(Math.abs(du), Math.abs(dv)));
    this.box = e.shiftKey ? { u: -du, v: -dv, side: 1 }
      : { u: corner.u - (du < 0 ? side : 0), v: corner.v - (dv < 0 ? side : 0), side };
    this.draw();
  },

  /** Lets go of what was pressed without a change. */
  drop() {
    this.held = this.box = null;
    this.owed = false;
    if (this.packet) this.draw();
  },

  /** @returns {boolean} whether a press takes hold of the start point */
  grips(e) {
    if (!this.start || !this.packet?.clickable || this.packet.mode !== 'contour') return false;
    const { x, y } = this.field;
    const at = this.geometry.place((this.start[0] - x[0]) / (x[1] - x[0]), (this.start[1] - y[0]) / (y[1] - y[0]));
    return Math.hypot(e.offsetX - at[0], e.offsetY - at[1]) < 16;
  },

  /** The start follows the pointer; the paths follow as fast as the server answers, one question at a time. */
  dragStart(e) {
    const p = this.pointAt(e);
    if (!p) return;
    this.placeStart(p.x, p.y);
    this.pending = true;
    if (performance.now() - this.asked > PATIENCE) this.ask();
  },

  /** Sends the dragged start. */
  ask() {
    this.pending = false;
    this.asked = performance.now();
    this.setTriggerValue?.('start', { x: this.start[0], y: this.start[1] });
  },

  /** The server has answered: it may be asked again. */
  answered() {
    this.asked = 0;
    if (this.held?.grip && this.pending) this.ask();
  },

  /** @returns {?{u: number, v: number, x: number, y: number}} the map point under the pointer */
  pointAt(e) {
    if (this.packet?.mode !== 'contour' || !this.geometry?.box) return null;
    const { box } = this.geometry, { x, y } = this.field;
    const u = (e.offsetX - box.l) / box.w, v = 1 - (e.offsetY - box.t) / box.h;
    if (!(u >= 0 && u <= 1 && v >= 0 && v <= 1)) return null;
    return { u, v, x: x[0] + u * (x[1] - x[0]), y: y[0] + v * (y[1] - y[0]) };
  },

  /** Shows the start point at once; the server's answer follows. */
  placeStart(x, y) {
    this.start = [x, y];
    this.draw();
  },

  /** Tells the server where the start point is. */
  sendStart() {
    clearTimeout(this.nudge);
    this.owed = false;
    this.setTriggerValue?.('start', { x: this.start[0], y: this.start[1] });
  },

  /** Tells the server once the arrow keys rest. */
  sendLater() {
    this.owed = true;
    clearTimeout(this.nudge);
    this.nudge = setTimeout(() => this.sendStart(), 120);
  },

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
  },

  /** Zooms the sheet, but leaves the page's scrolling alone unless that is clearly meant. */
  wheel(e) {
    const focused = this.map.getRootNode().activeElement === this.map;
    if (this.packet?.mode !== 'surface' || !(e.ctrlKey || focused)) return;
    e.preventDefault();
    this.turn({ zoom: this.camera.zoom * Math.exp(-e.deltaY * 0.0012) });
  },
};
