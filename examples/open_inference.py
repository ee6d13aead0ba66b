"""Names what pictures show by a server of the Open Inference Protocol: OpenVINO Model Server, Triton, KServe, or ours.

python open_inference.py http://localhost:8000 NAME MODEL PICTURES      MODEL is the export that is served, or its model
"""

import json
import sys
import urllib.request

import numpy as np

from ception.data.images import read, to_pixels
from ception.model_file import describe

address, name, model, *paths = sys.argv[1:]
said = describe(model)
pixels = np.stack([to_pixels(read(path), said.image) for path in paths])
size = {"binary_data_size": pixels.nbytes}
given = {"name": "pictures", "datatype": "UINT8", "shape": pixels.shape, "parameters": size}
wanted = {"name": "probabilities", "parameters": {"binary_data": False}}
head = json.dumps({"inputs": [given], "outputs": [wanted]}).encode()  # numbers behind it are bytes, not text
request = urllib.request.Request(
    f"{address}/v2/models/{name}/infer", head + pixels.tobytes(),
    {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))},
)  # fmt: skip
answer = json.load(urllib.request.urlopen(request))
(result,) = (output for output in answer["outputs"] if output["name"] == wanted["name"])
for path, row in zip(paths, np.reshape(result["data"], result["shape"]), strict=True):
    print(f"{path}: {said.class_names[int(row.argmax())]} {row.max():.4f}")
