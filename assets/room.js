/** The students' page of a live room: follows what the teacher shows, and sends a prediction when one is asked for. */

import figure from './figure.js';
import { FIELD_LIMIT } from './packet.js';
import draw, { field, follow } from './surface.js';

const MEMORY = 'ravine.seat';
const base = `${location.pathname.replace(/\/$/, '')}`;
const find = (id) => document.getElementById(id);
const said = find('said'), question = find('question'), answer = find('answer'), picture = find('picture'), detach = find('detach');
const fields = new Set();
let latest = 0, beat = 0, painting = null;

/** A seat of one's own, made up here and kept by the browser alone. */
function seat() {
  let own = localStorage.getItem(MEMORY);
  if (!/^[0-9a-f]{32}$/.test(own ?? '')) {
    own = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');
    localStorage.setItem(MEMORY, own);
  }
  return own;
}

/** @returns {Promise<?Uint8Array>} a packet by its name, or null if a newer one has replaced it */
async function packet(name) {
  const response = await fetch(`${base}/packet/${name}`);
  return response.ok ? new Uint8Array(await response.arrayBuffer()) : null;
}

/** Shows what an event tells. */
async function show({ version, state, asking, vote, playback, gone }) {
  if (gone) {
    said.textContent = gone;
    question.hidden = true;
    stream.close();
    return;
  }
  const news = version !== latest;
  latest = version;
  said.textContent = state.parts ? state.title || 'You follow the teacher.' : 'You are in. The teacher will show something soon.';
  question.hidden = !asking;
  if (!state.parts) return;
  ask(state, vote);
  find('says').textContent = state.says;
  answer.hidden = !state.answer;
  answer.textContent = state.answer;
  detach.hidden = false;
  detach.href = `../${state.link.replace(/^\//, '')}`;
  if (news) painting = renew(state.parts, version);
  await painting;
  if (!playback || playback.beat === beat || version !== latest) return;
  beat = playback.beat;
  for (const frame of picture.querySelectorAll('[data-kind=canvas]')) follow(frame, playback);
}

/** Fetches what is new, and draws it unless something newer is on the screen by then. */
async function renew(parts, version) {
  const found = await Promise.all(parts.map(async (part) => ({ ...part, data: fields.has(part.name) ? null : await packet(part.name) })));
  if (version !== latest) return;
  paint(found);
  document.body.dataset.version = version;
}

/** Draws the parts, each in a frame of its own: the same kind at the same place is updated, not replaced. */
function paint(parts) {
  const seen = parts.filter(({ kind }) => kind !== 'field');
  for (const { name, data } of parts.filter(({ kind, data }) => kind === 'field' && data)) {
    field({ data });
    fields.add(name);
    if (fields.size > FIELD_LIMIT / 2) fields.delete(fields.values().next().value); // the page may have dropped it
  }
  seen.forEach(({ kind, data }, place) => {
    let frame = picture.children[place];
    if (frame?.dataset.kind !== kind) {
      const fresh = document.createElement('div');
      fresh.dataset.kind = kind;
      if (frame) frame.replaceWith(fresh);
      else picture.append(fresh);
      frame = fresh;
    }
    if (!data) return;
    if (kind === 'canvas') draw({ data, parentElement: frame });
    else figure({ data, parentElement: frame, setTriggerValue: () => {} });
  });
  while (picture.children.length > seen.length) picture.lastChild.remove();
}

/** Shows the question, and which prediction was sent. */
function ask({ question: text, answers }, vote) {
  question.querySelector('h2').textContent = text;
  const group = question.querySelector('div'), words = Object.keys(answers);
  if (group.dataset.words !== words.join()) {
    group.dataset.words = words.join();
    group.replaceChildren(...words.map((word) => {
      const button = document.createElement('button');
      [button.type, button.value, button.textContent] = ['button', word, answers[word]];
      return button;
    }));
  }
  mark(vote);
}

/** Shows which prediction was sent. */
function mark(word) {
  for (const button of question.querySelectorAll('button')) button.setAttribute('aria-pressed', String(button.value === word));
}

find('code').textContent = base.split('/').pop();
question.addEventListener('click', async (e) => {
  const word = e.target.closest('button')?.value;
  if (!word) return;
  const response = await fetch(`${base}/vote`, { method: 'POST', body: JSON.stringify({ seat: seat(), word }) });
  if (response.ok) mark(word);
  else said.textContent = (await response.json()).refused;
});
const stream = new EventSource(`${base}/events?seat=${seat()}`);
stream.onmessage = (e) => show(JSON.parse(e.data));
stream.onerror = () => (said.textContent = 'The connection is lost; trying again.');
