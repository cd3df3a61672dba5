/** A link and a button that copies it, also where the page is not served over HTTPS. */

/** Copies a text. @returns {Promise<boolean>} whether the browser did */
async function copied(text, root) {
  if (window.isSecureContext && navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // refused by the browser's settings: the older way may still be open
    }
  }
  const field = root.querySelector("textarea");
  field.select();
  return document.execCommand("copy");
}

const STYLE = `
.rv-copy{display:grid;gap:8px;font:400 14px/1.4 var(--st-font,sans-serif);color:var(--st-text-color)}
.rv-copy textarea{font:12px/1.4 var(--st-code-font,monospace);color:inherit;background:var(--st-secondary-background-color);
  border:1px solid var(--st-border-color,#8888);border-radius:8px;padding:8px;width:100%;box-sizing:border-box;height:7em;resize:vertical}
.rv-copy button{font:inherit;color:var(--st-background-color,#fff);background:var(--st-primary-color,#0072b2);border:0;border-radius:8px;height:40px;cursor:pointer}
.rv-copy :focus-visible{outline:3px solid var(--st-text-color);outline-offset:2px}`;

/** @param {{data: string, parentElement: Element}} component data is the link */
export default function copy({ data, parentElement }) {
  let root = parentElement.querySelector(".rv-copy");
  if (!root) {
    root = document.createElement("div");
    root.className = "rv-copy";
    root.innerHTML = `<style>${STYLE}</style><textarea readonly aria-label="Link"></textarea>
      <button type="button"><span aria-live="polite">Copy link</span></button>`;
    parentElement.append(root);
    const said = root.querySelector("span");
    root.querySelector("button").addEventListener("click", async () => {
      said.textContent = (await copied(root.querySelector("textarea").value, root)) ? "Copied" : "Select the text and copy it";
      setTimeout(() => (said.textContent = "Copy link"), 2500);
    });
  }
  root.querySelector("textarea").value = data;
  return () => {};
}
