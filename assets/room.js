/** The students' page of a live room: follows what the teacher shows, and sends a prediction when one is asked for. */

import draw, { field } from './surface.js';

const MEMORY = 'ravine.seat';
const base = `${location.pathname.replace(/\/$/, '')}`;
const find = (id) => document.getElementById(id);
const said = find('said'), question = find('question'), picture = find('picture'), detach = find('detach');
const fields = new Set();
let latest = 0;

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
  const answer = await fetch(`${base}/packet/${name}`);
  return answer.ok ? new Uint8Array(await answer.arrayBuffer()) : null;
}

/** Shows what an event tells. */
async function show({ version, state, asking, vote, gone }) {
  if (gone) {
    said.textContent = gone;
    question.hidden = true;
    stream.close();
    return;
  }
  latest = version;
  said.textContent = state.view ? state.title || 'You follow the teacher.' : 'You are in. The teacher will show something soon.';
  question.hidden = !asking;
  question.querySelector('h2').textContent = state.question ?? '';
  mark(vote);
  if (!state.view) return;
  detach.hidden = false;
  detach.href = `../${state.link.replace(/^\//, '')}`;
  if (!fields.has(state.field)) {
    const data = await packet(state.field);
    if (data) field({ data });
    if (data) fields.add(state.field);
  }
  const data = await packet(state.view);
  if (data && version === latest) {
    draw({ data, parentElement: picture });
    document.body.dataset.version = version;
  }
}

/** Shows which prediction was sent. */
function mark(word) {
  for (const button of question.querySelectorAll('button')) button.setAttribute('aria-pressed', String(button.value === word));
}

find('code').textContent = base.split('/').pop();
question.addEventListener('click', async (e) => {
  const word = e.target.closest('button')?.value;
  if (!word) return;
  const answer = await fetch(`${base}/vote`, { method: 'POST', body: JSON.stringify({ seat: seat(), word }) });
  if (answer.ok) mark(word);
  else said.textContent = (await answer.json()).refused;
});
const stream = new EventSource(`${base}/events?seat=${seat()}`);
stream.onmessage = (e) => show(JSON.parse(e.data));
stream.onerror = () => (said.textContent = 'The connection is lost; trying again.');
