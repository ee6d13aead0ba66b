# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Deploy: ONNX, OpenVINO, LiteRT, a server, a browser
#
# A model that answers right in the notebook answers otherwise on the telephone: another resize, another order of classes, a
# softmax too many, a runtime that rounds. This tutorial writes one small model for three runtimes, looks at how each file is
# compared with the model before it may stay, runs all of them *without* Ception, and ends with a server and a page in a browser.
#
# It needs `pip install 'ception[tensorflow,onnx,openvino,nncf,litert,serve]'`.

# %%
import json
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
from PIL import Image

import ception
from ception.data import sources

PER_CLASS = 600
EPOCHS = 6


def command(line):
    """Run a command of Ception, as in a terminal, and print what it says."""
    done = subprocess.run([sys.executable, "-m", *shlex.split(line)], capture_output=True, text=True)
    print(f"$ {line}\n{done.stdout or done.stderr.splitlines()[-1]}")
    if done.returncode:
        print(f"exit code {done.returncode}")


# %% [markdown]
# ## A model
#
# Four kinds of clothes out of the sample that comes with Ception, a folder for each, and a network that is small enough for half a
# minute. Two of each that the training does not get are kept to ask about.

# %%
sample = sources.load("fashion-mnist-sample")
for name in ("bag", "coat", "sandal", "shirt"):
    number = [other.lower() for other in sample.class_names].index(name)
    for place, index in enumerate(np.flatnonzero(sample.labels == number)[: PER_CLASS + 2]):
        seen = place < PER_CLASS
        path = Path("clothes", name, f"{index:04d}.png") if seen else Path("new", f"{name}-{index:04d}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        sample.pictures.open(int(index)).save(path)
run = ception.train("clothes", model="separable_cnn", epochs=EPOCHS, runs="runs")
new = sorted(Path("new").iterdir())
print(run.scores)

# %% [markdown]
# ## ONNX, and the gate
#
# An export is one command. What it prints is the report of a gate: the file has been opened again *in its own runtime*, and both it
# and the model in Keras have been asked about the same pictures, from the bytes of their files to the label. Only then did the
# file get its name.

# %%
command(f"ception export {run.folder} --to onnx --out clothes.onnx")

# %% [markdown]
# In float32 not one label may differ. What differs in the probabilities are the last digits, for another runtime adds in
# another order. The times are of a machine that was busy with other things, and no figures: [those](../export.md#what-it-costs) were
# taken in turn. The report lies beside the file:

# %%
report = json.loads(Path("clothes.onnx.report.json").read_text())
print({name: report[name] for name in ("precision", "data", "pictures", "differing", "allowed", "largest_gap")})

# %% [markdown]
# ## OpenVINO, LiteRT, and int8
#
# The same for others. int8 rounds weights and activations to 256 steps, whose ranges come from training pictures: files are smaller
# and, for large networks, faster. That costs digits, so one label in a hundred may differ, and no more.

# %%
formats = {
    "clothes.onnx": ("onnx", "float32"),
    "clothes.xml": ("openvino", "float32"),
    "clothes.tflite": ("litert", "float32"),
    "clothes-int8.onnx": ("onnx", "int8"),
    "clothes-int8.xml": ("openvino", "int8"),
    "clothes-int8.tflite": ("litert", "int8"),
}
for file, (to, dtype) in formats.items():
    one = ception.export(run.folder, to, out=file, dtype=dtype)
    print(f"{file:20}{one.size / 1e3:>5.0f} kB   {one.differing} of {one.pictures} labels differ"
          f"   probabilities by {one.largest_gap:.0e}")  # fmt: skip

# %% [markdown]
# A gate that never closes is none. Ask for more than int8 keeps here, that of *all* test pictures not one may get another label:

# %%
strict = "--to litert --dtype int8 --max-disagreement 0 --pictures 5000 --out strict.tflite"
command(f"ception export {run.folder} {strict}")
print(f"is there a strict.tflite? {Path('strict.tflite').exists()}")

# %% [markdown]
# Its line names the layers in which most is lost: it had tried to keep some of them in float32 before it gave up. What is refused
# leaves no file, so no script can deploy it by mistake; the exit code is 1.
#
# ## The contract
#
# A runtime takes numbers, not pictures. What lies between is the *contract*, and each file carries it inside, as JSON: size,
# channels, how a picture is resized; the classes in the order of the answers. The network takes uint8 from 0 to 255 and
# scales it itself; it gives calibrated probabilities. So there is nothing left to get wrong but the resize:

# %%
import onnxruntime

session = onnxruntime.InferenceSession("clothes.onnx", providers=["CPUExecutionProvider"])
told = json.loads(session.get_modelmeta().custom_metadata_map["ception"])["model"]
print(told["image"])
print(told["class_names"])


# %%
def pixels_of(paths):
    """Pictures as the contract says: grey, squashed to the size of the network, uint8 (pictures, height, width, 1)."""
    size = told["image"]["width"], told["image"]["height"]
    pictures = [Image.open(path).convert("L").resize(size, Image.Resampling.BILINEAR) for path in paths]
    return np.stack([np.asarray(picture) for picture in pictures])[..., None]


pixels = pixels_of(new)
print(pixels.shape, pixels.dtype)

# %% [markdown]
# That is the whole of it for these pictures. For all that a telephone sends (turned by EXIF, transparent, cropped) take
# [onnx_runtime.py](../../examples/onnx_runtime.py) or [litert_numpy.py](../../examples/litert_numpy.py), which tests hold to what
# `ception predict` says.
#
# ## Each runtime by itself
#
# Nothing of Ception is used here, nor Keras: this is what runs on the other machine.

# %%
import openvino
from ai_edge_litert.interpreter import Interpreter

(in_onnx,) = session.run(None, {"pictures": pixels})
exact = {"INFERENCE_PRECISION_HINT": "f32"}  # or it takes bfloat16 where the processor has it
compiled = openvino.Core().compile_model("clothes.xml", "CPU", exact)
in_openvino = compiled(pixels)[0]
in_litert = Interpreter("clothes.tflite").get_signature_runner()(pictures=pixels)["probabilities"]

# %%
in_keras = ception.predict(run.folder, new)
print(f"{'picture':18}{'Keras':>15}{'ONNX':>15}{'OpenVINO':>15}{'LiteRT':>15}")
for place, said in enumerate(in_keras):
    answers = [(said.top[0].class_name, said.top[0].probability)]
    for given in (in_onnx, in_openvino, in_litert):
        best = int(given[place].argmax())
        answers.append((told["class_names"][best], float(given[place][best])))
    print(f"{Path(said.path).name:18}" + "".join(f"{name:>7} {probability:.5f}" for name, probability in answers))

# %% [markdown]
# On a telephone the LiteRT file goes into the app as it is, and Kotlin or Swift ask it as this cell does: one input `pictures`, one
# output `probabilities`. `unzip -p clothes.tflite ception.json` is the contract there.
#
# And an export is a model wherever Ception asks for one:

# %%
command(f"ception predict clothes-int8.xml {new[0]} {new[2]}")

# %% [markdown]
# ## A server
#
# `ception serve clothes.onnx` answers over HTTP. It needs neither Keras nor TensorFlow for an export. Here it takes a free port:

# %%
line = "ception serve clothes=clothes.onnx --port 0"
server = subprocess.Popen([sys.executable, "-m", *shlex.split(line)], stderr=subprocess.PIPE, text=True)
said = next(one for one in server.stderr if "Answering" in one)
address = re.search(r"http://[\w.:]+", said)[0]
print(said)


def ask(path, body=None, kind="image/png"):
    """What the server answers; a body is posted."""
    request = urllib.request.Request(address + path, body, {"Content-Type": kind} if body else {})
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


print(ask("/ready"))
print(ask("/predict?top=2", new[0].read_bytes()))

# %% [markdown]
# In a terminal that is `curl --data-binary @bag.png localhost:8000/predict`. Programs that speak the Open Inference Protocol, as those
# for Triton and KServe do, send pixels instead:

# %%
tensor = {"name": "pictures", "datatype": "UINT8", "shape": pixels[:1].shape, "data": pixels[:1].ravel().tolist()}
answer = json.loads(ask("/v2/models/clothes/infer", json.dumps({"inputs": [tensor]}).encode(), "application/json"))
for one in answer["outputs"]:
    print(one["name"], one["shape"], one["data"])

# %%
print(*[line for line in ask("/metrics").splitlines() if line.startswith("ception_answers_total")], sep="\n")

# %% [markdown]
# SIGTERM, which is what a supervisor sends, ends it after what is at work:

# %%
server.send_signal(signal.SIGTERM)
print("exit code", server.wait(60))
server.stderr.close()

# %% [markdown]
# At its address is also a page for people, with heat maps where it serves a model file. Containers, systemd, tokens and limits:
# [serve a model](../serving.md).
#
# ## A browser
#
# Without any server, the browser itself can run the network, by ONNX Runtime Web. [examples/browser](../../examples/browser/index.html)
# is a page of three small files; beside them goes the export:
#
# <!-- not run: the library is downloaded -->
# ```
# cd examples/browser
# ception export runs/001-separable_cnn-clothes --to onnx --out model.onnx
# npm install onnxruntime-web
# python -m http.server
# ```
#
# ![The page in a browser: a picture of a bag, and what the model above says of it](../pictures/browser.png)
#
# The picture never leaves the page. It reads classes and contract from the file, as above, and its resize is Pillow's to within 1 of
# 255, which a test compares.
#
# ## Which one?
#
# | where it shall run | take |
# |---|---|
# | a server with an Intel or AMD processor | OpenVINO, in int8 if the gate lets it pass; `ception serve` picks it by itself |
# | any program in C++, C#, Java, Go, Rust | ONNX |
# | a telephone, a small board | LiteRT |
# | a page | ONNX |
# | TensorFlow Serving, a program in PyTorch | `--to saved-model`, `--to torch` |
#
# What each costs and gains for a network of 22 million weights: [exported models](../export.md#what-it-costs).
#
# Next: [exported models](../export.md), [serve a model](../serving.md), [speed](../how-to/speed.md).
