// The resize that a model was trained with: Pillow's bilinear filter, within 1 of 255 (Pillow may take height first).
const BITS = 22; // of the weights

function weights(size, from, to, wanted) {
  const scale = (to - from) / wanted, reach = Math.max(scale, 1);
  return Array.from({ length: wanted }, (_, k) => {
    const centre = from + (k + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - reach + 0.5), 0);
    const count = Math.min(Math.trunc(centre + reach + 0.5), size) - first;
    const raw = Array.from({ length: count }, (_, i) => Math.max(0, 1 - Math.abs((first + i + 0.5 - centre) / reach)));
    const total = raw.reduce((sum, weight) => sum + weight, 0);
    return [first, raw.map((weight) => Math.trunc(0.5 + (weight / total) * 2 ** BITS))];
  });
}

// The columns of a picture made `wanted` many, and the picture turned over its diagonal: twice, and it is upright again
function columns({ width, height, channels, data }, from, to, wanted) {
  const made = new Uint8Array(wanted * height * channels);
  weights(width, from, to, wanted).forEach(([first, factors], k) => {
    for (let row = 0; row < height; row++)
      for (let c = 0; c < channels; c++) {
        const start = (row * width + first) * channels + c;
        const sum = factors.reduce((sum, factor, i) => sum + factor * data[start + i * channels], 2 ** (BITS - 1));
        made[(k * height + row) * channels + c] = Math.floor(sum / 2 ** BITS);
      }
  });
  return { width: height, height: wanted, channels, data: made };
}

const box = (picture, left, top, right, bottom, width, height) =>
  columns(columns(picture, left, right, width), top, bottom, height);
const round = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)); // halves to the even number, as Python

export function resized(picture, { width, height, resize, crop }) {
  const { width: w, height: h, channels } = picture, wide = w / h >= width / height;
  if (resize === "squash") return box(picture, 0, 0, w, h, width, height).data;
  if (resize === "crop") { // the largest part of that shape, within a share of each side
    const part = wide ? [(width / height) * h * crop, h * crop] : [w * crop, (w * crop) / (width / height)];
    const [left, top] = [(w - part[0]) / 2, (h - part[1]) / 2];
    return box(picture, left, top, left + part[0], top + part[1], width, height).data;
  }
  const size = wide ? [width, round((h / w) * width)] : [round((w / h) * height), height];
  const inner = box(picture, 0, 0, w, h, ...size).data, data = new Uint8Array(width * height * channels);
  const [x, y] = [round((width - size[0]) / 2), round((height - size[1]) / 2)];
  const line = size[0] * channels;
  for (let row = 0; row < size[1]; row++) // in the middle, on black
    data.set(inner.subarray(row * line, (row + 1) * line), ((y + row) * width + x) * channels);
  return data;
}
