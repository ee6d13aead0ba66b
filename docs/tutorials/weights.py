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
# # Weights: where they come from, and how we know that they are right
#
# A weight file is some hundred tensors with names. Nothing in it says whether the code that reads it computes what the code that
# wrote it did. A tensor in the wrong place, a pool that pads otherwise, another epsilon: the network still runs, and is a little
# worse, or much. This tutorial goes the way of such a file from its address to a network that is proven equal, and breaks things on
# the way to see whether that is noticed. Nothing is downloaded: the weights are made here, by Keras's own code.

# %%
import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import keras
import numpy as np

import ception
from ception import downloads
from ception.conversion.export import export_weights
from ception.weights.published import WEIGHTS

SIZE = 128


def refused(task, *given, **options):
    """Print the one line by which something is refused."""
    try:
        task(*given, **options)
    except (ception.InputError, ception.RunError) as error:
        print("refused:", str(error).replace(str(Path.home()), "~"))


# %% [markdown]
# ## Where they come from
#
# A record for each published checkpoint that has a name, as `ception models --weights` lists them. The first one of a network is what
# `--weights imagenet` means.

# %%
for name, record in WEIGHTS.items():
    vouched = record.digest[:18] if record.digest else "by the hub" if record.url.startswith("hf:") else "by nobody"
    print(f"{name:32}{record.megabytes:>4} MB   {record.licence:13}{vouched:20}{record.port or 'as published'}")

# %% [markdown]
# Any other file is taken by its path: `.h5` and `.keras` of Keras, `.safetensors` and `.pth` of PyTorch, `.ckpt` of TF-Slim.
#
# ## 1. Is it the file that was meant? A hash
#
# A record has the hash that the *publisher's source* states. Let us publish something on this machine, and fetch it with the right
# hash and with a wrong one. (What nobody vouches for, above, is not downloaded at all.)


# %%
class Quiet(SimpleHTTPRequestHandler):
    """Files of a folder over HTTP, without a line for each request."""

    def log_message(self, *_):
        """Say nothing."""


Path("web").mkdir()
Path("web/tutorial.h5").write_bytes(b"not yet weights, but bytes")
with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory="web")) as site:
    threading.Thread(target=site.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{site.server_port}/tutorial.h5"
    refused(downloads.fetch, address, "sha256:00000000")
    digest = hashlib.sha256(Path("web/tutorial.h5").read_bytes()).hexdigest()
    fetched = downloads.fetch(address, f"sha256:{digest}")
    print(f"fetched {fetched.stat().st_size} bytes")
    site.shutdown()
fetched.unlink()  # from the cache

# %% [markdown]
# ## 2. Is it only weights? Nothing in it is run
#
# A hash says that the file is the publisher's, not that the publisher means well. A whole model of Keras may hold a `Lambda` layer,
# which is code, and PyTorch's `.pth` is a pickle, which is a program. Here is a model that leaves a file behind wherever it is run:


# %%
def trap(maps):
    """What a stranger's layer may do."""
    open("trapped", "w").close()
    return maps


inputs = keras.Input((SIZE, SIZE, 3))
maps = keras.layers.Lambda(trap, output_shape=(SIZE, SIZE, 3))(inputs)
trapping = keras.Model(inputs, keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(maps)))
trapping.save("trap.keras")
trapping(np.zeros((1, SIZE, SIZE, 3)))
Path("trapped").unlink()  # it was there: the trap works
refused(ception.convert, "trap.keras", "xception")
print("trapped" if Path("trapped").exists() else "nothing was run")

# %% [markdown]
# Tensors are read by readers that know tensors and nothing else; no object is made of what a file says, no graph is deserialised.
#
# ## 3. Does every tensor find its place?
#
# Now somebody's weights: `keras.applications.Xception` with five classes, saved by Keras. They are drawn at random, batch
# normalisation's statistics too, and not left as Keras starts them, for a reason that comes below.

# %%
shape = (SIZE, SIZE, 3)
options = {"input_shape": shape, "classes": 5, "classifier_activation": None}
theirs = keras.applications.Xception(weights=None, **options)
random = np.random.default_rng(0)
pictures = random.integers(0, 256, (2, *shape)).astype("float32")


def said(network, pictures):
    """What a network gives for pictures, in NumPy."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, network(pictures, training=False))


fresh = said(theirs, pictures / 127.5 - 1)
for layer in theirs.layers:
    drawn = layer.get_weights()
    if isinstance(layer, keras.layers.BatchNormalization):
        size = drawn[0].shape
        drawn = [random.uniform(0.7, 1.3, size), random.normal(0, 0.2, size), random.normal(0, 0.2, size),
                 random.uniform(0.7, 1.3, size)]  # fmt: skip
    else:  # as many numbers as each output really sees: 9 where a kernel has one filter for each channel
        fans = [9 if kernel.shape[-1] == 1 else np.prod(kernel.shape[:-1]) for kernel in drawn]
        drawn = [random.normal(0, np.sqrt(1 / fan), kernel.shape) for fan, kernel in zip(fans, drawn)]
    layer.set_weights(drawn)
theirs.save_weights("theirs.weights.h5")
filled = said(theirs, pictures / 127.5 - 1)
print(f"{len(theirs.weights)} tensors, {theirs.count_params():,} weights")

# %% [markdown]
# On the command line what follows is `ception convert theirs.weights.h5 --model xception --image-size 128`.

# %%
certificate = ception.convert("theirs.weights.h5", "xception", image_size=SIZE, out="ours.keras")
print(f"{certificate.matched} tensors matched, {len(certificate.missing)} missing, {len(certificate.unused)} unused")
for what, how in certificate.taken.items():
    print(f"{what}: {how}")

# %% [markdown]
# All of ours were filled, all of theirs were used, each by its name or place and with every shape checked *before* the first is loaded.
# What does not fit is refused in one line:

# %%
refused(ception.convert, "theirs.weights.h5", "inception_v3", out="x.keras")
logits = theirs.layers[-1]
kernel, bias = logits.get_weights()
logits.set_weights([np.where(np.arange(5) == 3, np.nan, kernel), bias])
theirs.save_weights("broken.weights.h5")
logits.set_weights([kernel, bias])
refused(ception.convert, "broken.weights.h5", "xception", image_size=SIZE, out="x.keras")

# %% [markdown]
# ## 4. Does it compute the same? A certificate
#
# Shapes prove little: Xception's middle flow has twenty-four kernels of one shape, and 24! = 6e23 ways to mix them up. So the
# original's own code runs with the same file, read by *its own* reader, on two photographs, and what every block gives is compared:

# %%
print(f"{certificate.original}, filled by {certificate.filled_by}")
for name, largest in [*certificate.endpoints.items(), ("logits", certificate.logits)]:
    print(f"{name:8}{largest:.1e}")

# %% [markdown]
# Zero, for Keras's layers compute both. Against timm and torchvision it is some 1e-6, because PyTorch adds in another order
# ([all certificates](../weights.md#certificates)).
#
# Why not a fresh network? It gives logits near zero for *any* picture: two networks that have nothing in common agree to four
# decimals, and batch normalisation with mean 0 and variance 1 shows neither its epsilon nor its order.

# %%
for when, values in (("fresh", fresh), ("filled at random", filled)):
    apart = np.abs(values[0] - values[1]).max()
    print(f"{when:18}largest logit {np.abs(values).max():.1e}, two pictures differ by {apart:.1e}")

# %% [markdown]
# ## 5. Would it be noticed?
#
# A proof that cannot fail is none. The same comparison in a few lines, to try it on networks that are wrong:


# %%
def differences(network, names=("block2", "block4", "block5", "block8", "block13")):
    """How far a network is from Keras's, at the ends of some blocks, relative to the largest value."""
    sums = [layer.output for layer in theirs.layers if isinstance(layer, keras.layers.Add)]
    original = keras.Model(theirs.input, {name: sums[int(name.removeprefix("block")) - 2] for name in names})
    wanted, given = said(original, pictures / 127.5 - 1), said(ception.features(network, names), pictures)
    return {name: float(np.abs(given[name] - wanted[name]).max() / np.abs(wanted[name]).max()) for name in names}


def told(what, network):
    """Print these differences in a line."""
    print(f"{what:34}" + "   ".join(f"{name} {largest:.0e}" for name, largest in differences(network).items()))


ours = ception.build("xception", weights="theirs.weights.h5", image_size=SIZE, classes=5)
told("as loaded", ours)
one, other = ours.get_layer("block5_sepconv1"), ours.get_layer("block5_sepconv2")
swapped = one.get_weights(), other.get_weights()
one.set_weights(swapped[1])
other.set_weights(swapped[0])
told("two kernels of block5 swapped", ours)
one.set_weights(swapped[0])
other.set_weights(swapped[1])
ours.get_layer("block4_sepconv1_bn").epsilon = 1e-5
told("one epsilon 1e-5, not 1e-3", ours)

# %% [markdown]
# The first endpoint that differs says where to look. (As loaded it is not quite zero: the certificate gives both networks the same
# scaled pixels, and here each scales them by itself, which rounds.)
#
# ## 6. Ports: the same weights, other rules
#
# timm's `legacy_xception` has Google's weights and pads its max pools alike on both sides, with another epsilon. That is no mistake,
# but a *port* with rules of its own, and its weights want to be run by these. They are columns of the network's table here, and
# weights bring them along. What would it cost to run Keras's weights by timm's rules?

# %%
print(ception.models.PORTS["xception"])
other_rules = {"image_size": SIZE, "classes": 5, "port": "timm_legacy"}
told("by timm's rules", ception.build("xception", weights="theirs.weights.h5", **other_rules))

# %% [markdown]
# No tensor is wrong, nothing was missing, and it is another network ([how the ports differ](../weights.md#how-the-ports-differ)).
#
# ## 7. Back again
#
# `ception convert ours.keras --to keras-applications` writes a file that Keras itself loads. The circle closes:

# %%
back = export_weights("ours.keras", "keras-applications", out="back.weights.h5")
again = keras.applications.Xception(weights=back.out, **options)
largest = np.abs(said(again, pictures / 127.5 - 1) - filled).max() / np.abs(filled).max()
print(back.use)
print(f"logits differ by {largest:.0e}")

# %% [markdown]
# ## What is left to trust
#
# That the published accuracy is what the publisher measured, and that pixels are scaled and cropped as they were there: a file of weights
# says nothing of both, so records do, each with its source. What real weights see has been measured: Inception V3's with
# ImageNet's weights tell apart photos of waste that they were never shown
# ([linear_probe.csv](../../benchmarks/results/linear_probe.csv)).
#
# Next: [weights](../weights.md), [add a weights record](../how-to/weights-record.md), [fine-tune on your own photos](own_photos.md).
