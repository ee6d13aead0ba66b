"""Names what a picture shows with ONNX Runtime, NumPy and Pillow alone: python onnx_runtime.py MODEL.onnx PICTURES."""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def pixels(path, image):
    """The picture as the network takes it: as the model was trained, said by its metadata."""
    size, how, by = (image["width"], image["height"]), image["resize"], Image.Resampling.BILINEAR
    with Image.open(path) as opened:
        picture = ImageOps.exif_transpose(opened)
    if picture.has_transparency_data:  # whatever is transparent lies over white
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
    picture = picture.convert("RGB" if image["channels"] == 3 else "L")
    if how == "crop":
        picture = ImageOps.fit(picture, size, by, bleed=(1 - image["crop"]) / 2)
    else:
        picture = ImageOps.pad(picture, size, by) if how == "pad" else picture.resize(size, by)
    return np.asarray(picture, np.uint8).reshape(1, image["height"], image["width"], image["channels"])


session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
said = json.loads(session.get_modelmeta().custom_metadata_map["ception"])
for path in sys.argv[2:]:
    (probabilities,) = session.run(None, {"pictures": pixels(path, said["model"]["image"])})[0]
    best = int(probabilities.argmax())
    unsure = "unknown, perhaps " if probabilities[best] < said["min_confidence"] else ""
    print(f"{path}: {unsure}{said['model']['class_names'][best]} {probabilities[best]:.4f}")
