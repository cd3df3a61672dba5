/** A video of the playback, recorded by the browser itself: MP4 where it can, else WebM. */

const KINDS = ['video/mp4;codecs=avc1', 'video/webm;codecs=vp9', 'video/webm'];

export const film = {
  /** Plays from the first step to the last, records the picture, and hands the file to the visitor. */
  async film() {
    const type = KINDS.find((one) => window.MediaRecorder?.isTypeSupported(one));
    const button = this.root.querySelector('.rv-film'), { dataset } = this.root;
    if (!type || !this.packet || this.filming) {
      if (!type) button.title = 'This browser cannot record a video.';
      return;
    }
    this.filming = true;
    button.disabled = true;
    const looped = this.loop.checked, recorder = new MediaRecorder(this.map.captureStream(30), { mimeType: type });
    const parts = [], ended = new Promise((resolve) => (recorder.onstop = resolve));
    recorder.ondataavailable = (e) => e.data.size && parts.push(e.data);
    this.loop.checked = false;
    this.scrub(0);
    recorder.start();
    this.toggle();
    while (this.playing) await new Promise((resolve) => setTimeout(resolve, 50));
    await new Promise((resolve) => setTimeout(resolve, 300)); // the last picture stays for a moment
    recorder.stop();
    await ended;
    this.loop.checked = looped;
    this.filming = button.disabled = false;
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob(parts, { type }));
    link.download = `ravine.${type.startsWith('video/mp4') ? 'mp4' : 'webm'}`;
    link.click();
    dataset.filmed = parts.reduce((sum, part) => sum + part.size, 0);
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  },
};
