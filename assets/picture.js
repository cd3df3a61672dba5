/** Saves a figure as PNG or SVG at the size of a paper's column, or as a video of its curves. All is drawn by the browser. */

import { plotly } from './figure.js';
import { CANNOT, kind, record } from './film.js';
import { inPng, inSvg } from './held.js';

const STYLE = `
.rv-save{display:flex;gap:8px;font:400 14px/1.4 var(--st-font,sans-serif);color:var(--st-text-color)}
.rv-save button{flex:1;font:inherit;color:inherit;background:var(--st-secondary-background-color);border:1px solid var(--st-border-color,#8888);border-radius:8px;height:40px;cursor:pointer}
.rv-save :focus-visible{outline:3px solid var(--st-primary-color);outline-offset:2px}`;
const SCALE = 4; // pixels of a PNG for each one of the layout: 384 dots an inch

const SECONDS = 5; // of a video
const WIDE = 1280; // pixels of a video at least

/** The figure as two images, with its growing curves and without, and where they grow: in pixels of the images. */
async function twice(figure, width, height, scale) {
  const Plotly = await plotly(), host = document.createElement('div');
  Object.assign(host.style, { position: 'fixed', left: '-10000px', width: `${width}px`, height: `${height}px` });
  document.body.append(host);
  try {
    const { data, layout } = JSON.parse(figure), options = { format: 'png', width, height, scale };
    await Plotly.newPlot(host, data, layout);
    const image = async () => {
      const one = new Image();
      one.src = await Plotly.toImage(host, options);
      await one.decode();
      return one;
    };
    const full = await image(), { xaxis, _size: size } = host._fullLayout;
    const growing = data.flatMap((one, k) => (one.line?.dash === 'dash' ? [] : [k])); // thresholds stand from the beginning
    await Plotly.restyle(host, { opacity: 0 }, growing);
    return { full, empty: await image(), left: xaxis._offset * scale, span: xaxis._length * scale, top: size.t * scale, deep: size.h * scale };
  } finally {
    Plotly.purge(host);
    host.remove();
  }
}

/** Records the curves as they grow from the first step to the last. */
async function film({ figure, width, height, name, specification }, button) {
  const type = kind();
  button.title = type ? '' : CANNOT;
  if (!type) return;
  button.disabled = true;
  try {
    const scale = Math.ceil(WIDE / width), canvas = document.createElement('canvas'), ctx = canvas.getContext('2d');
    const { full, empty, left, span, top, deep } = await twice(figure, width, height, scale);
    canvas.width = width * scale;
    canvas.height = height * scale;
    const over = 7 * scale; // by which markers reach over the edges
    const draw = (share) => {
      const x = Math.round(left + share * span), rest = Math.ceil(left + span) + over - x;
      ctx.drawImage(full, 0, 0);
      if (share < 1) ctx.drawImage(empty, x, top - over, rest, deep + over, x, top - over, rest, deep + over);
    };
    draw(0);
    const size = await record(canvas, type, name, specification, async () => {
      const began = performance.now();
      for (let share = 0; share < 1; ) {
        await new Promise((resolve) => setTimeout(resolve, 33));
        draw((share = Math.min(1, (performance.now() - began) / (1000 * SECONDS))));
      }
    });
    button.dataset.filmed = size;
  } catch (failure) {
    button.title = failure.message;
  } finally {
    button.disabled = false;
  }
}

/** Draws the figure off the screen, and hands the file to the visitor. */
async function save({ figure, width, height, name, specification }, format, button) {
  const label = button.textContent;
  button.disabled = true;
  try {
    const Plotly = await plotly(), { data, layout } = JSON.parse(figure);
    const url = await Plotly.toImage({ data, layout }, { format, width, height, scale: format === 'png' ? SCALE : 1 });
    const link = document.createElement('a');
    link.href = format === 'png' ? inPng(url, specification) : inSvg(url, specification);
    link.download = `${name}.${format}`;
    link.click();
  } catch (failure) {
    button.title = failure.message;
  } finally {
    button.disabled = false;
    button.textContent = label;
  }
}

/** @param {{data: {figure: string, width: number, height: number, name: string, grows: boolean, specification: string}, parentElement: Element}} component */
export default function picture({ data, parentElement }) {
  let root = parentElement.querySelector('.rv-save');
  if (!root) {
    root = document.createElement('div');
    root.className = 'rv-save';
    root.innerHTML = `<style>${STYLE}</style><button type="button">PNG</button><button type="button">SVG</button><button type="button">Video</button>`;
    parentElement.append(root);
    const [png, svg, video] = root.querySelectorAll('button');
    for (const button of [png, svg]) button.addEventListener('click', () => save(root.data, button.textContent.toLowerCase(), button));
    video.addEventListener('click', () => film(root.data, video));
  }
  root.data = data;
  root.lastElementChild.hidden = !data.grows;
  return () => {};
}
