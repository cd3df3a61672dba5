/** A video of the playback, recorded by the browser itself: MP4 where it can, else WebM. */

import { inVideo } from './held.js';

const KINDS = ['video/mp4;codecs=avc1', 'video/webm;codecs=vp9', 'video/webm'];
const REST = 300; // milliseconds for which the last picture stays

export const CANNOT = 'This browser cannot record a video.';

/** @returns {string | undefined} what this browser can record */
export const kind = () => KINDS.find((one) => window.MediaRecorder?.isTypeSupported(one));

/** Records a canvas until `shown` is over, and hands the file, with a text inside, to the visitor. @returns {Promise<number>} its bytes */
export async function record(canvas, type, name, text, shown) {
  const recorder = new MediaRecorder(canvas.captureStream(30), { mimeType: type });
  const parts = [], ended = new Promise((resolve) => (recorder.onstop = resolve));
  recorder.ondataavailable = (e) => e.data.size && parts.push(e.data);
  recorder.start();
  await shown();
  await new Promise((resolve) => setTimeout(resolve, REST));
  recorder.stop();
  await ended;
  parts.push(inVideo(type, text));
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob(parts, { type }));
  link.download = `${name}.${type.startsWith('video/mp4') ? 'mp4' : 'webm'}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  return parts.reduce((sum, part) => sum + (part.size ?? part.length), 0);
}

export const film = {
  /** Plays from the first step to the last, records the picture, and hands the file to the visitor. */
  async film() {
    const type = kind(), button = this.root.querySelector('.rv-film');
    if (!type || !this.packet || this.filming) {
      if (!type) button.title = CANNOT;
      return;
    }
    this.filming = true;
    button.disabled = true;
    const looped = this.loop.checked;
    this.loop.checked = false;
    this.scrub(0);
    const size = await record(this.map, type, 'ravine', this.packet.specification ?? '', async () => {
      this.toggle();
      while (this.playing) await new Promise((resolve) => setTimeout(resolve, 50));
    });
    this.loop.checked = looped;
    this.filming = button.disabled = false;
    this.root.dataset.filmed = size;
  },
};
