/** The structure and the styles of the component. */

export const SIDE = 300;

export const CSS = `
.rv-root{--text:var(--st-text-color,#262730);--bg:var(--st-background-color,#fff);--soft:var(--st-secondary-background-color,#f0f2f6);
  --accent:var(--st-primary-color,#0060a8);--line:var(--st-border-color,color-mix(in srgb,var(--text) 22%,transparent));
  --muted:color-mix(in srgb,var(--text) 74%,var(--bg));--warn:color-mix(in srgb,#d55e00 72%,var(--text));
  box-sizing:border-box;width:100%;display:grid;gap:12px 24px;grid-template-columns:minmax(0,1fr);align-items:start;
  color:var(--text);font:400 calc(15px*var(--rv-type,1))/1.35 var(--st-font,system-ui,sans-serif)}
.rv-root *{box-sizing:border-box}
.rv-root.rv-wide{grid-template-columns:minmax(0,1fr) var(--side,${SIDE}px)}
.rv-stage{position:relative;margin-bottom:10px}
.rv-root canvas{display:block;border-radius:6px}
.rv-map{cursor:crosshair;touch-action:manipulation}
.rv-root[data-mode=surface] .rv-map{cursor:grab;touch-action:pan-y}
.rv-root[data-mode=surface] .rv-map:active{cursor:grabbing}
.rv-loss{cursor:ew-resize;touch-action:pan-y}
.rv-root :focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.rv-readout,.rv-notice{position:absolute;pointer-events:none;padding:3px 8px;border-radius:5px;font-size:13px;
  font-variant-numeric:tabular-nums;background:color-mix(in srgb,var(--bg) 90%,transparent);color:var(--text)}
.rv-notice{left:50%;top:50%;transform:translate(-50%,-50%);font-size:15px}
.rv-readout[hidden],.rv-notice[hidden]{display:none}
.rv-bar{display:flex;flex-wrap:wrap;align-items:center;justify-content:space-between;gap:8px;min-height:40px}
.rv-play,.rv-speed{font:inherit;color:inherit;background:var(--soft);border:1px solid var(--line);border-radius:8px;height:40px;cursor:pointer}
.rv-play{display:inline-flex;align-items:center;justify-content:center;gap:8px;min-width:92px;padding:0 8px}
.rv-play:hover,.rv-speed:hover{border-color:var(--accent)}
.rv-play:disabled{opacity:.5;cursor:default}
.rv-play svg{width:13px;height:13px;fill:currentColor}
.rv-speed{padding:0 6px;background:var(--bg)}
.rv-seek{flex:1 1 110px;min-width:0;height:28px;margin:0;appearance:none;-webkit-appearance:none;background:none;cursor:pointer}
.rv-seek::-webkit-slider-runnable-track{height:6px;border-radius:3px;
  background:linear-gradient(to right,var(--accent) var(--at,0%),color-mix(in srgb,var(--text) 22%,var(--bg)) var(--at,0%))}
.rv-seek::-moz-range-track{height:6px;border-radius:3px;background:color-mix(in srgb,var(--text) 22%,var(--bg))}
.rv-seek::-moz-range-progress{height:6px;border-radius:3px;background:var(--accent)}
.rv-seek::-webkit-slider-thumb{-webkit-appearance:none;width:18px;height:18px;margin-top:-6px;border-radius:50%;background:var(--accent);border:2px solid var(--bg)}
.rv-seek::-moz-range-thumb{width:14px;height:14px;border-radius:50%;background:var(--accent);border:2px solid var(--bg)}
.rv-step{min-width:8.6em;text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.rv-loop{display:inline-flex;align-items:center;gap:6px;cursor:pointer}
.rv-loop input{accent-color:var(--accent);width:16px;height:16px;margin:0}
.rv-side{display:grid;gap:12px 24px;align-items:start;min-width:0}
.rv-root.rv-pair .rv-side{grid-template-columns:auto minmax(0,1fr)}
.rv-table{min-height:200px}
.rv-runs{width:100%;border-collapse:collapse;table-layout:fixed;font-size:calc(14px*var(--rv-type,1))}
.rv-runs caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.rv-runs th,.rv-runs td{padding:3px 2px;border:0;border-bottom:1px solid var(--line);text-align:left;font-weight:400;vertical-align:top;color:var(--text);height:60px}
.rv-runs thead th{font-weight:600;height:26px}
.rv-back,.rv-next,.rv-film{font:inherit;color:inherit;background:var(--soft);border:1px solid var(--line);border-radius:8px;height:40px;width:32px;padding:0;cursor:pointer}
.rv-back:hover,.rv-next:hover,.rv-film:hover{border-color:var(--accent)}
.rv-back:disabled,.rv-next:disabled,.rv-film:disabled{opacity:.5;cursor:default}
.rv-runs .rv-num{width:48%;text-align:right;font-variant-numeric:tabular-nums}
.rv-runs tbody th{padding-left:28px;position:relative}
.rv-runs svg{position:absolute;left:2px;top:5px;width:19px;height:19px;overflow:visible}
.rv-runs div{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.rv-name{font-weight:600}
.rv-detail,.rv-status{font-size:calc(12.5px*var(--rv-type,1));color:var(--muted)}
.rv-status.rv-warn{color:var(--warn);font-weight:600}`;

export const PLAY = 'M3 1L14 8L3 15Z', PAUSE = 'M3 1H6.5V15H3ZM9.5 1H13V15H9.5Z';

export const HTML = `
<div class="rv-main">
  <div class="rv-stage">
    <canvas class="rv-map" tabindex="0" role="application"></canvas>
    <div class="rv-readout" aria-hidden="true" hidden></div>
    <div class="rv-notice" role="status">Preparing the surface…</div>
  </div>
  <div class="rv-bar" role="group" aria-label="Playback">
    <button type="button" class="rv-play" aria-label="Play"><svg viewBox="0 0 16 16" aria-hidden="true"><path d="${PLAY}"/></svg><span>Play</span></button>
    <button type="button" class="rv-back" aria-label="One step back" title="One step back (←)">‹</button>
    <button type="button" class="rv-next" aria-label="One step on" title="One step on (→)">›</button>
    <input type="range" class="rv-seek" aria-label="Step" min="0" max="0" value="0">
    <span class="rv-step" aria-hidden="true"></span>
    <select class="rv-speed" aria-label="Playback speed"><option value="0.5">0.5×</option><option value="1" selected>1×</option><option value="2">2×</option><option value="4">4×</option></select>
    <label class="rv-loop"><input type="checkbox">Loop</label>
    <button type="button" class="rv-film" aria-label="Record the playback as a video" title="Record the playback as a video">●</button>
  </div>
</div>
<div class="rv-side">
  <canvas class="rv-loss" role="img"></canvas>
  <div class="rv-table"><table class="rv-runs"><caption>Runs</caption>
    <thead><tr><th scope="col">Run</th><th scope="col" class="rv-num"></th></tr></thead><tbody></tbody></table></div>
</div>`;
