/** The teacher's view of a live room: its code, who is there, and how they voted. Asks once a second while it is open. */

const MEMORY = 'ravine.room'; // in the browser's session storage: a reload comes back to its room
const TEACHER = 'ravine.teacher'; // where teach.js puts the key that opening a room may take
const STYLE = `
.rv-room{font:400 calc(15px*var(--rv-type,1))/1.4 var(--st-font,sans-serif);color:var(--st-text-color);display:grid;gap:6px}
.rv-room b{font-size:1.5em;letter-spacing:.12em}
.rv-room dl{display:grid;grid-template-columns:auto minmax(0,1fr) auto;gap:4px 8px;margin:0;align-items:center}
.rv-room dt,.rv-room dd{margin:0}
.rv-room dd{font-variant-numeric:tabular-nums;text-align:right}
.rv-room i{display:block;height:10px;border-radius:5px;min-width:2px;background:var(--st-primary-color,#0072b2)}`;
const views = new WeakMap();

/** The room's page. */
const page = (code, rest = '') => new URL(`room/${code}${rest}`, document.baseURI).href;

const PAUSE = 250; // milliseconds between two reports of the player: a dragged slider must not flood a class
let room = null, played = null, waiting = 0;

/** Tells the room what the player on this page does, the last thing last. */
function report() {
  if (!room || !played || waiting) return;
  const body = JSON.stringify({ key: room.key, ...Object.fromEntries(Object.entries(played).map(([k, v]) => [k, String(v)])) });
  played = null;
  waiting = setTimeout(() => {
    waiting = 0;
    report();
  }, PAUSE);
  fetch(page(room.code, '/play'), { method: 'POST', body }).catch(() => null);
}
window.addEventListener('ravine:played', ({ detail }) => {
  played = detail;
  report();
});

/** Asks for the tally and writes it down. */
async function refresh(root, { code, key }) {
  const answer = await fetch(page(code, '/tally'), { method: 'POST', body: JSON.stringify({ key }) }).catch(() => null);
  if (!answer?.ok) return;
  const { present, votes } = await answer.json(), total = Math.max(1, ...Object.values(votes));
  root.dataset.present = present;
  root.querySelector('p').textContent = `${present} here`;
  const words = Object.keys(votes), list = root.querySelector('dl');
  if (list.dataset.words !== words.join()) {
    list.dataset.words = words.join();
    root.querySelector('small').hidden = !words.length;
    list.replaceChildren(...words.flatMap((word) => {
      const [term, bar, count, fill] = ['dt', 'dd', 'dd', 'i'].map((tag) => document.createElement(tag));
      term.textContent = word;
      fill.dataset.bar = count.dataset.word = word;
      bar.append(fill);
      return [term, bar, count];
    }));
  }
  for (const [word, count] of Object.entries(votes)) {
    root.querySelector(`[data-word=${word}]`).textContent = count;
    root.querySelector(`[data-bar=${word}]`).style.width = `${(100 * count) / total}%`;
  }
}

/** @param {{data: ?{code: string, key: string}, parentElement: Element, setTriggerValue: Function}} component */
export default function teacher({ data, parentElement, setTriggerValue }) {
  let root = parentElement.querySelector('.rv-room');
  if (!root) {
    root = document.createElement('div');
    root.className = 'rv-room';
    parentElement.append(root);
    const kept = !data?.code && sessionStorage.getItem(MEMORY);
    if (kept) setTriggerValue('resume', JSON.parse(kept));
    const known = sessionStorage.getItem(TEACHER);
    if (known && data?.locked) setTriggerValue('teacher', known);
  }
  if (!data?.code) data = null;
  clearInterval(views.get(root));
  root.hidden = !data;
  room = data;
  report();
  if (!data) {
    if (root.dataset.code) sessionStorage.removeItem(MEMORY); // it was open here, and was closed
    delete root.dataset.code;
    return () => {};
  }
  sessionStorage.setItem(MEMORY, JSON.stringify(data));
  if (root.dataset.code !== data.code) {
    root.dataset.code = data.code;
    root.innerHTML = `<style>${STYLE}</style><div>Room <b></b></div><div class="rv-where"></div><p style="margin:0" role="status">0 here</p><dl></dl><small hidden>A vote is no ballot: one person may hold several seats.</small>`;
    root.querySelector('b').textContent = data.code;
    root.querySelector('.rv-where').textContent = page(data.code).replace(/^https?:\/\//, '');
  }
  refresh(root, data);
  const timer = setInterval(() => refresh(root, data), 1000);
  views.set(root, timer);
  return () => clearInterval(timer);
}
