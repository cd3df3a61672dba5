/** A results file that is dropped anywhere on the page goes to the field that opens it. */

const STYLE = `.rv-drop{position:fixed;inset:12px;z-index:1000000;display:grid;place-items:center;pointer-events:none;
  border:4px dashed var(--st-primary-color,#0072b2);border-radius:16px;background:color-mix(in srgb,var(--st-background-color,#fff) 82%,transparent);
  color:var(--st-text-color,#31333f);font:600 24px/1.4 var(--st-font,sans-serif)}
.rv-drop[hidden]{display:none}`;

/** @param {{data: string, parentElement: Element}} component data is the class of the field that takes the file */
export default function drop({ data, parentElement }) {
  let root = parentElement.querySelector('.rv-drop');
  if (!root) {
    root = document.createElement('div');
    root.className = 'rv-drop';
    root.hidden = true;
    root.textContent = 'Drop a results file to open it';
    const style = document.createElement('style');
    style.textContent = STYLE;
    parentElement.append(style, root);
  }
  const stop = new AbortController();
  const input = () => document.querySelector(`.${data} input[type=file]`);
  // A field that takes files of its own is left alone.
  const ours = (e) => e.dataTransfer?.types.includes('Files') && !e.target.closest?.('[data-testid=stFileUploader]') && input();
  const show = (over) => (root.hidden = !over);
  const on = (type, act) => window.addEventListener(type, act, { signal: stop.signal });
  on('dragover', (e) => {
    if (!ours(e)) return;
    e.preventDefault();
    show(true);
  });
  on('dragleave', (e) => e.relatedTarget || show(false));
  on('drop', (e) => {
    show(false);
    if (!ours(e)) return;
    e.preventDefault();
    const field = input();
    field.files = e.dataTransfer.files;
    field.dispatchEvent(new Event('change', { bubbles: true }));
  });
  return () => {
    show(false);
    stop.abort();
  };
}
