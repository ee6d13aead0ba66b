// Pictures -> classes with ONNX Runtime Web (npm install onnxruntime-web). The model says what it takes and answers.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";
import { resized } from "./resize.js";

export async function load(url) {
  const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
  const key = new TextEncoder().encode("\n\u0007ception"); // with what it says of itself, a model's file ends
  let at = bytes.length - key.length;
  while (at >= 0 && !key.every((value, k) => bytes[at + k] === value)) at--;
  const told = new TextDecoder().decode(bytes.subarray(at + key.length));
  const { model, min_confidence } = JSON.parse(told.slice(told.indexOf("{")));
  return { ...model, min_confidence, session: await ort.InferenceSession.create(bytes) };
}

export async function classify({ session, image, class_names }, picture) {
  const { width, height, channels } = image;
  const shape = [1, height, width, channels];
  const pictures = new ort.Tensor("uint8", resized(await decoded(picture, channels), image), shape);
  const { probabilities } = await session.run({ pictures });
  return class_names.map((name, k) => ({ name, probability: probabilities.data[k] }))
    .sort((one, other) => other.probability - one.probability);
}

async function decoded(picture, channels) {
  const bitmap = await createImageBitmap(picture, { colorSpaceConversion: "none" }); // turned upright as EXIF says
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.fillStyle = "white"; // whatever is transparent lies over white
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height); // red, green, blue and alpha of each pixel
  const grey = (k) => (19595 * data[k] + 38470 * data[k + 1] + 7471 * data[k + 2] + 32768) >> 16;
  const value = (k) => channels === 1 ? grey(4 * k) : data[4 * Math.floor(k / 3) + k % 3];
  return { width, height, channels, data: Uint8Array.from({ length: width * height * channels }, (_, k) => value(k)) };
}
