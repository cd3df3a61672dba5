/** The table of runs at the present step. */

import { SHAPES } from './ink.js';
import { compact } from './text.js';

export const table = {
  /** Rebuilds the rows of the table for a new packet. */
  fillTable() {
    const make = (tag, name, text) => {
      const el = document.createElement(tag);
      el.className = name;
      if (text) el.textContent = el.title = text;
      return el;
    };
    this.cells = this.packet.runs.map((run, k) => {
      const head = make('th', ''), num = make('td', 'rv-num');
      head.scope = 'row';
      head.innerHTML = `<svg viewBox="-1.5 -1.5 3 3" aria-hidden="true"><path d="${SHAPES[k % SHAPES.length]}"/></svg>`;
      head.querySelector('path').setAttribute('fill', run.color);
      head.append(make('div', 'rv-name', run.label), make('div', 'rv-detail', run.detail));
      const value = make('div', ''), slope = make('div', 'rv-detail'), status = make('div', 'rv-status');
      num.append(value, slope, status);
      return { head, num, value, slope, status };
    });
    this.tbody.replaceChildren(...this.cells.map(({ head, num }) => {
      const row = document.createElement('tr');
      row.append(head, num);
      return row;
    }));
  },

  /** Writes losses and states at the present position, touching only what changed. */
  updateTable() {
    const { packet, position: i } = this;
    packet.runs.forEach((run, k) => {
      const { value, slope, status } = this.cells[k], over = run.diverged != null && i >= run.end;
      const loss = compact(run.loss[i]);
      const place = i === packet.last ? run.ended ?? '' : `${packet.unit} ${packet.steps[i]}`;
      const away = run.away && `${compact(run.away[i] * packet.furthest)} from the plane`;
      const state = over ? `✕ ${run.ended}` : away ?? place;
      const steep = `‖∇‖ ${compact(run.slope[i])}`;
      if (value.textContent !== loss) value.textContent = loss;
      if (slope.textContent !== steep) slope.textContent = steep;
      if (status.textContent === state) return;
      status.textContent = status.title = state;
      status.classList.toggle('rv-warn', over);
    });
    if (this.playing) return;
    const losses = packet.runs.map((run) => `${run.label} ${compact(run.loss[i])}`).join(', ');
    this.loss.setAttribute('aria-label', `${packet.curve || 'Loss'} at ${packet.unit} ${packet.steps[i]}: ${losses}`);
  },
};
