"""Classify pictures with a model that `ception export MODEL --to litert` wrote, with LiteRT, NumPy and Pillow alone.

    python examples/litert_numpy.py model.tflite cat.jpg dog.jpg

What it needs to know is in the model: a ZIP archive that lies behind it, which LiteRT does not look at.
"""

import json
import sys
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps

model, *paths = sys.argv[1:]
with zipfile.ZipFile(model) as archive:
    said = json.loads(archive.read("ception.json"))
wanted, classes = said["model"]["image"], said["model"]["class_names"]
size, mode = (wanted["width"], wanted["height"]), "L" if wanted["channels"] == 1 else "RGB"
classify = Interpreter(model_path=model, num_threads=4).get_signature_runner()

for path in paths:
    picture = ImageOps.exif_transpose(Image.open(path))
    if picture.has_transparency_data:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
    picture = picture if picture.mode == mode else picture.convert("RGB").convert(mode)
    if wanted["resize"] == "crop":
        picture = ImageOps.fit(picture, size, Image.Resampling.BILINEAR, bleed=(1 - wanted["crop"]) / 2)
    elif wanted["resize"] == "pad":
        picture = ImageOps.pad(picture, size, Image.Resampling.BILINEAR)
    else:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(picture, np.uint8).reshape(1, *size[::-1], wanted["channels"])
    probabilities = classify(pictures=pixels)["probabilities"][0]
    best = probabilities.argmax()
    unsure = "unknown, perhaps " if probabilities[best] < said["min_confidence"] else ""
    print(f"{path}: {unsure}{classes[best]} {probabilities[best]:.1%}")
