/**
 * What travels from the server: uint32 LE header length | JSON header | float32 LE blocks. A field of losses is heavy and
 * comes once; the page keeps the last few, and a view names its own by id.
 */

export const FIELD_LIMIT = 8;

/**
 * Streamlit may import this file more than once under different addresses, so the
 * fields live on the page rather than in one copy of the module.
 */
export const shared = (globalThis[Symbol.for('ravine.surface')] ??= { fields: new Map(), waiters: new Set() });

/**
 * Splits a packet into its JSON header and its floats.
 * @param {Uint8Array|ArrayBuffer} data
 * @returns {{header: object, floats: Float32Array}}
 */
export function decode(data) {
  const bytes = asBytes(data);
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const block = bytes.slice(4 + length); // a copy, because Float32Array needs aligned bytes
  return { header, floats: new Float32Array(block.buffer, 0, block.byteLength >> 2) };
}

/** @param {Uint8Array|ArrayBuffer} data @returns {Uint8Array} */
export const asBytes = (data) => (data instanceof Uint8Array ? data : new Uint8Array(data));

/** @returns {boolean} whether two typed arrays hold the same */
export function sameBytes(a, b) {
  if (a === b) return true;
  if (!a || !b || a.length !== b.length) return false;
  for (let k = 0; k < a.length; k++) if (a[k] !== b[k]) return false;
  return true;
}

/** @param {string} id @returns {object|undefined} a stored field, marked as recently used */
export function takeField(id) {
  const found = shared.fields.get(id);
  if (found) {
    shared.fields.delete(id);
    shared.fields.set(id, found);
  }
  return found;
}
