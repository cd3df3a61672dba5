/**
 * Ravine's loss surface: a field of loss values as a contour map or a 3-D sheet, optimizer paths on it, playback, a loss
 * chart and a table of runs. Each part of the view is a file of its own; this one holds them together.
 *
 * Two packets feed it (see packet.js). `field` stores the heavy grid once; the default export draws a light view packet
 * that names its field by id, so that a new path costs no grid.
 */

import { chart } from './chart.js';
import { contour } from './contour.js';
import { FADES } from './ink.js';
import { film } from './film.js';
import { asBytes, decode, FIELD_LIMIT, sameBytes, shared, takeField } from './packet.js';
import { CSS, HTML, SIDE } from './page.js';
import { overlays, WIDTHS } from './overlays.js';
import { playback } from './playback.js';
import { pointer } from './pointer.js';
import { sheet } from './sheet.js';
import { table } from './table.js';
import { clamp } from './text.js';

const WIDE = 1000;
const CAMERA = { azimuth: -0.62, elevation: 0.76, zoom: 1 };
const views = new WeakMap();
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
    this.back = find('.rv-back');
    this.next = find('.rv-next');
    this.seek = find('.rv-seek');
    this.stepText = find('.rv-step');
    this.speed = find('.rv-speed');
    this.loop = find('.rv-loop input');
    this.tbody = find('tbody');
    this.lossHead = find('thead .rv-num');
    Object.assign(this, {
      bytes: null, incoming: null, packet: null, field: null, fresh: false, fonts: 0,
      start: null, nudge: 0, owed: false, asked: 0, position: 0, clock: 0, playing: false, frame: 0,
      camera: { ...CAMERA }, layers: {}, traces: null, box: null, trail: { key: '', at: 0, canvases: [0, 1].map(() => document.createElement('canvas')) }, width: 0, version: 0, attached: null,
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
    const stop = new AbortController(), find = (name) => this.root.querySelector(name);
    const on = (target, type, fn, options) => target.addEventListener(type, fn, { signal: stop.signal, ...options });
    on(this.play, 'click', () => this.toggle());
    on(find('.rv-back'), 'click', () => this.scrub(this.position - 1));
    on(find('.rv-next'), 'click', () => this.scrub(this.position + 1));
    on(find('.rv-film'), 'click', () => this.film());
    on(this.speed, 'change', () => this.tell());
    on(this.loop, 'change', () => this.tell());
    on(this.seek, 'input', () => this.scrub(Number(this.seek.value)));
    on(this.root, 'keydown', (e) => this.rootKey(e));
    on(this.map, 'keydown', (e) => this.mapKey(e));
    on(this.map, 'pointerdown', (e) => this.press(e));
    on(this.map, 'pointermove', (e) => this.move(e));
    on(this.map, 'pointerup', (e) => this.release(e));
    on(this.map, 'pointercancel', () => this.drop());
    on(this.map, 'pointerleave', () => (this.readout.hidden = true));
    on(this.map, 'dblclick', () => (this.packet?.zoomable && this.packet.mode === 'contour' ? this.setTriggerValue('whole', true) : this.turn({ ...CAMERA })));
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
      run.away = header.fade ? block() : null;
      run.fade = run.away && Uint8Array.from(run.away, (d) => Math.round(clamp(d || 0, 0, 1) * FADES));
      run.slope = block();
      run.around = Object.fromEntries(header.overlays.map((name) => [name, Array.from({ length: WIDTHS[name] }, block)]));
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
    const old = this.packet?.runs ?? [];
    const same = old.length === runs.length && runs.every((run, k) => sameBytes(run.u, old[k].u) && sameBytes(run.v, old[k].v));
    const m = header.sharpness, sharpness = m ? { v: floats.subarray(at, at + m * m), nx: m, ny: m } : null;
    const clickable = header.clickable && Boolean(this.setTriggerValue); // nobody to tell: a picture to look at
    const zoomable = Boolean(header.zoomable && this.setTriggerValue);
    this.packet = { unit: 'step', ...header, clickable, zoomable, sharpness, runs, serial: ++serial, last: n - 1 };
    this.packet.chart = this.chartRange();
    if (!this.owed) this.start = header.start;
    this.answered();
    if (!same) this.position = this.clock = this.playing ? 0 : n - 1; // the same paths stay where they are
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
      type: Number(get('--rv-type', '1')), // larger in present mode
    };
    this.still = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
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
    const large = this.theme.type > 1, side = large ? SIDE + 50 : SIDE;
    const wide = width > (large ? WIDE - 150 : WIDE), pair = !wide && width >= 640;
    this.root.style.setProperty('--side', `${side}px`);
    this.root.classList.toggle('rv-wide', wide);
    this.root.classList.toggle('rv-pair', pair);
    const main = wide ? width - side - 24 : width;
    // What the page needs above and below the picture, so that picture, playback and curves fit one screen.
    const room = window.innerHeight - (wide ? 200 : pair ? 350 : 260);
    const scrolled = this.root.getRootNode().host?.closest('[data-testid=stMain]')?.scrollTop ?? window.scrollY;
    // A tall screen is filled from where the picture begins to where playback and export end.
    const tall = Math.max(700, window.innerHeight - this.root.getBoundingClientRect().top - scrolled - 210);
    this.resize(this.map, main, Math.round(clamp(Math.min((main > 1000 ? 0.8 : 0.72) * main, room), 340, tall)));
    this.resize(this.loss, wide ? side : pair ? Math.round(0.54 * (width - 24)) : width, wide ? 250 : 200);
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
    this.drawOverlays(ctx);
    this.drawMarks(ctx);
    this.drawStart(ctx);
    packet.runs.forEach((run, k) => this.drawMarker(ctx, run, k));
    if (this.box && !surface) this.drawBox(ctx);
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
    packet.runs.forEach((run, k) => traces.list[k].draw(lines, from, to, run.color, run.twin ? '#fff' : ''));
    if (!this.playing) return;
    for (const canvas of trail.canvases) ctx.drawImage(canvas, 0, 0, map.width / this.ratio, map.height / this.ratio);
  }
}

Object.assign(View.prototype, contour, overlays, film, sheet, pointer, playback, chart, table);

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

/** Lets the player that is drawn in a parent do as another one does. */
export function follow(parentElement, playback) {
  views.get(parentElement)?.obey(playback);
}
