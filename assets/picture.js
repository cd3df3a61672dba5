/** Saves a figure as PNG or SVG at the size of a paper's column. The browser draws it: nothing is sent anywhere. */

import { plotly } from './figure.js';

const STYLE = `
.rv-save{display:flex;gap:8px;font:400 14px/1.4 var(--st-font,sans-serif);color:var(--st-text-color)}
.rv-save button{flex:1;font:inherit;color:inherit;background:var(--st-secondary-background-color);border:1px solid var(--st-border-color,#8888);border-radius:8px;height:40px;cursor:pointer}
.rv-save :focus-visible{outline:3px solid var(--st-primary-color);outline-offset:2px}`;
const SCALE = 4; // pixels of a PNG for each one of the layout: 384 dots an inch

/** Draws the figure off the screen, and hands the file to the visitor. */
async function save({ figure, width, height, name }, format, button) {
  const label = button.textContent;
  button.disabled = true;
  try {
    const Plotly = await plotly(), { data, layout } = JSON.parse(figure);
    const url = await Plotly.toImage({ data, layout }, { format, width, height, scale: format === 'png' ? SCALE : 1 });
    const link = document.createElement('a');
    link.href = url;
    link.download = `${name}.${format}`;
    link.click();
  } catch (failure) {
    button.title = failure.message;
  } finally {
    button.disabled = false;
    button.textContent = label;
  }
}

/** @param {{data: {figure: string, width: number, height: number, name: string}, parentElement: Element}} component */
export default function picture({ data, parentElement }) {
  let root = parentElement.querySelector('.rv-save');
  if (!root) {
    root = document.createElement('div');
    root.className = 'rv-save';
    root.innerHTML = `<style>${STYLE}</style><button type="button">PNG</button><button type="button">SVG</button>`;
    parentElement.append(root);
    for (const button of root.querySelectorAll('button')) {
      button.addEventListener('click', () => save(root.data, button.textContent.toLowerCase(), button));
    }
  }
  root.data = data;
  return () => {};
}
