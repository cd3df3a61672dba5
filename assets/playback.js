/** Time: play, step, scrub, loop; every view and curve shows the same step. */

import { PAUSE, PLAY } from './page.js';
import { clamp } from './text.js';

const RUN_SECONDS = 5; // of playback at the speed 1
const REST = 1.08; // of a loop, its rest at the end included

export const playback = {
  /** Starts or stops playback; at the end it starts over. */
  toggle() {
    if (!this.packet || this.packet.last < 1) return;
    if (!this.playing && this.position >= this.packet.last) this.seekTo(0);
    this.playing = !this.playing;
    this.clock = this.position;
    this.sync();
    if (this.playing) this.schedule();
  },

  /** Jumps to a recorded step by hand, which ends playback. */
  scrub(i) {
    this.playing = false;
    this.seekTo(i);
  },

  /** Jumps to the recorded step under a place on the loss chart. */
  scrubAt(px) {
    if (!this.packet) return;
    const { l, w } = this.chart, { steps, last } = this.packet;
    const step = steps[0] + clamp((px - l) / w, 0, 1) * (steps[last] - steps[0]);
    let i = steps.findIndex((s) => s >= step);
    if (i < 0) i = last;
    if (i > 0 && step - steps[i - 1] < steps[i] - step) i--;
    this.scrub(i);
  },

  /** Keys on the player: space plays, arrows step, except on controls that have their own use for them. */
  rootKey(e) {
    if (e.altKey || e.ctrlKey || e.metaKey || !this.packet) return;
    const own = e.target.closest('select, [type=checkbox], [type=range]');
    if (e.key === ' ' && !own && !e.target.closest('button')) this.toggle();
    else if (e.key === ' ' && e.target.closest('[type=range]')) this.toggle();
    else if ((e.key === 'ArrowLeft' || e.key === 'ArrowRight') && !own && e.target !== this.map) {
      this.scrub(this.position + (e.key === 'ArrowLeft' ? -1 : 1));
    } else return;
    e.preventDefault();
  },

  /** Shows a recorded step. */
  seekTo(i) {
    this.position = this.clock = clamp(i, 0, this.packet.last);
    this.draw();
    this.sync();
  },

  /** Asks for one animation frame. */
  schedule() {
    if (this.frame || !this.attached) return;
    this.then = performance.now();
    this.frame = requestAnimationFrame((now) => this.tick(now));
  },

  /** One frame: advances playback by the time that passed and draws what changed. */
  tick(now) {
    this.frame = 0;
    if (!this.packet || !this.width) return;
    const { last } = this.packet;
    if (this.playing) {
      const passed = clamp(now - this.then, 0, 100) / 1000;
      this.clock += (passed * Number(this.speed.value) * last) / RUN_SECONDS;
      // A loop rests on its last step for a moment before it starts over.
      if (this.clock >= last && (!this.loop.checked || this.clock > last * REST)) {
        this.playing = this.loop.checked;
        this.clock = this.playing ? 0 : last;
      }
      const i = Math.min(last, Math.floor(this.clock));
      // Where people ask for less motion, the picture changes four times a second instead of gliding.
      if (!this.still || !this.playing || now - (this.shown ?? 0) > 250) {
        this.dirty ||= i !== this.position || !this.playing;
        this.position = i;
        this.shown = now;
      }
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
  },

  /** Tells whoever listens on the page what the player does now: once, not at every frame of it. */
  tell() {
    const { playing, position, speed, loop } = this;
    const told = { position, playing, speed: Number(speed.value), loop: loop.checked, camera: this.eye() };
    const text = JSON.stringify(playing ? { ...told, position: 0 } : told);
    if (text === this.announced) return;
    this.announced = text;
    window.dispatchEvent(new CustomEvent('ravine:played', { detail: told }));
  },

  /** Where the camera of the third dimension is, as it is told: azimuth, elevation and zoom. */
  eye() {
    const { azimuth, elevation, zoom } = this.camera;
    return [azimuth, elevation, zoom].map((one) => Number(one.toFixed(3)));
  },

  /** Does as another player does since some seconds. */
  obey({ position, playing, speed, loop, camera: [azimuth, elevation, zoom], since }) {
    if (!this.packet) return;
    if (zoom) this.turn({ azimuth, elevation, zoom });
    const { last } = this.packet;
    this.speed.value = String(speed);
    this.loop.checked = loop;
    this.scrub(position);
    if (!playing || last < 1) return;
    const reached = this.position + (since * speed * last) / RUN_SECONDS;
    if (reached >= last && !loop) return void this.scrub(last);
    this.seekTo(Math.floor(reached % (last * REST)));
    this.playing = true;
    this.sync();
    this.schedule();
  },

  /** Brings chart, table and controls to the present position. */
  sync() {
    const { packet, position: i, playing, seek } = this, { steps, last } = packet, { dataset } = this.root;
    const text = `${packet.unit} ${steps[i]} / ${steps[last]}`;
    if (this.stepText.textContent !== text) this.stepText.textContent = text;
    seek.max = last;
    seek.value = i;
    seek.disabled = this.play.disabled = last < 1;
    this.back.disabled = i < 1;
    this.next.disabled = i >= last;
    seek.style.setProperty('--at', `${last ? (100 * i) / last : 100}%`);
    seek.setAttribute('aria-valuetext', text);
    if (dataset.playing !== String(playing)) {
      dataset.playing = playing;
      this.play.setAttribute('aria-label', playing ? 'Pause' : 'Play');
      this.play.querySelector('path').setAttribute('d', playing ? PAUSE : PLAY);
      this.play.querySelector('span').textContent = playing ? 'Pause' : 'Play';
    }
    dataset.position = i;
    dataset.camera = this.eye().join();
    this.tell();
    this.drawChart();
    // Nobody reads sixty numbers a second, and each costs a layout.
    const now = performance.now();
    if (playing && now - (this.told ?? 0) < 100) return;
    this.told = now;
    this.updateTable();
  },
};
