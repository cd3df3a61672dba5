/** What a saved picture or video holds beside its pixels: a text that says what made it. */

const HEAD = 33; // bytes of a PNG's signature and of the chunk that comes first
const XMP = [0xbe, 0x7a, 0xcf, 0xcb, 0x97, 0xa9, 0x42, 0xe8, 0x9c, 0x71, 0x99, 0x94, 0x91, 0xe3, 0xaf, 0xac]; // its UUID in an MP4

const utf8 = (text) => new TextEncoder().encode(text);
const escaped = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;');
const joined = (...parts) => Uint8Array.from(parts.flatMap((one) => [...one]));

/** @returns {Uint8Array} a count as four bytes, the highest first */
function four(count) {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, count);
  return bytes;
}

/** The address of an SVG, given by its own, with a text inside, as its metadata. */
export function inSvg(url, text) {
  const drawing = decodeURIComponent(url.slice(url.indexOf(',') + 1)).replace(/<svg[^>]*>/, (head) => `${head}<metadata>${escaped(text)}</metadata>`);
  return `data:image/svg+xml,${encodeURIComponent(drawing)}`;
}

/** The address of a PNG with a text inside, under the keyword Specification: ravine.provenance.in_png in the browser. */
export function inPng(url, text) {
  const whole = Uint8Array.from(atob(url.slice(url.indexOf(',') + 1)), (one) => one.charCodeAt(0));
  const body = utf8(`iTXtSpecification\0\0\0\0\0${text}`);
  let sum = ~0;
  for (const byte of body) {
    sum ^= byte;
    for (let k = 0; k < 8; k++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  const chunk = joined(four(body.length - 4), body, four(~sum));
  return URL.createObjectURL(new Blob([whole.slice(0, HEAD), chunk, whole.slice(HEAD)], { type: 'image/png' }));
}

/** What to append to a video so that it holds a text: XMP in an MP4 (ISO 16684-1), a tag in a WebM (RFC 9559). */
export function inVideo(type, text) {
  return type.startsWith('video/mp4') ? xmp(text) : tagged(text);
}

function xmp(text) {
  const packet = utf8(
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">' +
      '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:description><rdf:Alt>' +
      `<rdf:li xml:lang="x-default">${escaped(text)}</rdf:li></rdf:Alt></dc:description></rdf:Description></rdf:RDF></x:xmpmeta>`,
  );
  return joined(four(8 + XMP.length + packet.length), utf8('uuid'), XMP, packet);
}

function tagged(text) {
  const element = (id, ...held) => {
    const body = joined(...held);
    return joined(id, [0x01, 0, 0, 0], four(body.length), body); // a length of eight bytes
  };
  const pair = element([0x67, 0xc8], element([0x45, 0xa3], utf8('SPECIFICATION')), element([0x44, 0x87], utf8(text)));
  return element([0x12, 0x54, 0xc3, 0x67], element([0x73, 0x73], element([0x63, 0xc0]), pair));
}
