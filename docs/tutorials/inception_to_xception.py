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
# # From Inception to Xception, module by module
#
# Xception is Inception taken to its end. This tutorial walks there in the seven steps that papers and articles draw. Each step
# is built, drawn and costed; two claims of equality are tried out; and at the end real pictures are asked whether the
# idea behind the walk holds.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import ception
from ception.data import sources
from ception.inspection.drawing import draw
from ception.models import MODELS
from ception.models.networks import modules

EPOCHS = 3
PICTURES = 4000
SEEDS = 3


def shown(network, name, **options):
    """Draw a network and show the picture as large as it is."""
    draw(network, f"{name}.png", **options)
    pixels = np.asarray(Image.open(f"{name}.png"))
    figure = plt.figure(figsize=(pixels.shape[1] / 100, pixels.shape[0] / 100), dpi=100)
    figure.add_axes((0, 0, 1, 1)).imshow(pixels)
    plt.axis("off")
    plt.show()


def step(name):
    """Show a module and say what it costs, from 28 x 28 x 192 feature maps to 256 channels, as GoogLeNet's first one."""
    module = modules.build(name)
    shown(module, name, expand=True)
    cost = ception.summary(module)
    print(f"{cost.parameters:,} weights, {cost.macs:,} multiply-accumulates ({modules.MODULES[name].source})")


# %% [markdown]
# `ception summary bottleneck_inception --graph it.svg --expand` draws the same from the command line. Multiply-accumulates
# (MACs) are those with weights, for one picture. To compare with, a plain 3x3 convolution from 192 to 256 channels:

# %%
plain = ception.summary(modules.build("plain_convolution"))
print(f"{plain.parameters:,} weights, {plain.macs:,} multiply-accumulates")

# %% [markdown]
# ## 1. The naive module
#
# What matters in a picture may be small or large, and nobody knows beforehand where. So do not choose a kernel size: look
# with several at once, and let the next layer choose among the joined channels. A pool is joined too, for at that time no
# good network went without.

# %%
step("naive_inception")

# %% [markdown]
# The trouble stands under the last arrow: the pool passes all of its channels on, so what comes out is wider than what was asked
# for, and the next module has more to look at still. And the 5x5 branch, an eighth of the filters, is dearer than the 1x1 by far.
#
# ## 2. Bottlenecks
#
# A 1x1 convolution looks at no neighbours, only across channels: it can say in 96 numbers, or in 16, most of what 192 say.
# Put one before each large kernel, and one behind the pool. This is the module of GoogLeNet.

# %%
step("bottleneck_inception")

# %% [markdown]
# ## 3. 5x5 as two 3x3
#
# Two 3x3 convolutions in a row see 5 x 5 pixels. With as many channels throughout they have 18 weights where the 5x5 has 25,
# and a ReLU more in between. Inception V3 is made so. (Behind a bottleneck as narrow as this one there is little left to save.)

# %%
step("factorised_inception")

# %% [markdown]
# ## 4. One kernel size
#
# Now every branch is alike in kind, so make them alike: each a 1x1 and then a 3x3, no pool. The module has lost its various sizes,
# and shows what is left: *cut the channels into parts, and look at space within each part alone*. (It is dearer than GoogLeNet's, whose
# widths were chosen branch by branch. What counts here is the shape.)

# %%
step("simplified_inception")

# %% [markdown]
# ## 5. One shared 1x1, and segments
#
# Four small 1x1 convolutions on the same input are one large one whose result is cut into four segments. This is not
# another module, only another way to draw it.

# %%
step("segmented_inception")

# %% [markdown]
# Equally many weights; and with the same weights it computes the same:

# %%
towers = modules.build("simplified_inception", segments=4, seed=0)
kernels = [layer.get_weights()[0] for layer in towers.layers if layer.get_weights()]
joined = [np.concatenate([kernel for kernel in kernels if len(kernel) == size], -1) for size in (1, 3)]
segmented = modules.build("segmented_inception", segments=4)
segmented.set_weights(joined)
maps = np.random.default_rng(0).normal(size=(2, 28, 28, 192)).astype("float32")


def difference(one, other):
    """The largest difference of what two modules give, as a share of the largest value."""
    ours, theirs = one.predict_on_batch(maps), other.predict_on_batch(maps)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


print(f"four towers and four segments differ by {difference(segmented, towers):.1e} of the largest value")

# %% [markdown]
# ## 6. The extreme: a segment for every channel
#
# Why four? Take as many segments as there are channels, and each 3x3 looks at one channel. Channels are mixed by the 1x1 alone,
# space is looked at by the 3x3 alone.

# %%
step("extreme_inception")

# %%
ends = modules.build("segmented_inception", segments=256, seed=0)
extreme = modules.build("extreme_inception")
across, within = ends.get_weights()
extreme.set_weights([across, within.transpose(0, 1, 3, 2)])  # one kernel for each of 256 channels, stored otherwise
print(f"256 segments and the extreme module differ by {difference(extreme, ends):.1e} of the largest value")

# %% [markdown]
# ## 7. Depthwise first
#
# What libraries call a depthwise separable convolution does the same in the other order, space first and then channels, without a
# ReLU in between. In a stack of modules the order matters little, for between two 3x3 stands a 1x1 either way. That the ReLU
# is gone matters: the paper tried it both ways, and without is better (section 4.7).

# %%
step("separable_convolution")

# %% [markdown]
# ## The costs side by side

# %%
for name, module in modules.MODULES.items():
    cost = ception.summary(modules.build(name))
    share = cost.macs / plain.macs
    print(f"{name:24}{cost.parameters:>10,} weights{share:>8.1%} of a plain 3x3's MACs   {module.title}")

# %% [markdown]
# And between the plain convolution and the extreme one lies a scale, the number of segments. The 1x1 costs the same all along it;
# what falls is the 3x3, in proportion:

# %%
for segments in (1, 2, 4, 16, 64, 256):
    cost = ception.summary(modules.build("segmented_inception", segments=segments))
    print(f"{segments:>4} segments{cost.parameters:>10,} weights{cost.macs:>14,} MACs")

# %% [markdown]
# ## Does the idea hold? Real pictures
#
# The walk rests on a hypothesis: that channels and space *can* be looked at apart. If they cannot, a network loses accuracy as
# segments grow. So train a small network of two modules on pictures of clothes, with one segment, with four and with one for each
# channel, in two ways:
#
# - **as wide throughout**: 32 channels. Segments make it cheaper. What does that cost?
# - **as many weights throughout**: what segments save is spent on more channels. What does that gain? (The paper compares
#   Inception V3 and Xception in this way.)
#
# Everything else is the same. Each is trained from three seeds, because one run says little about differences as small as these.

# %%
sample = sources.load("fashion-mnist-sample")
training = np.flatnonzero(sample.stated_splits == sources.TRAIN)[:PICTURES]
test = np.flatnonzero(sample.stated_splits == sources.TEST)


def pixels_of(indices):
    """Pixels from -1 to 1, of shape (pictures, 28, 28, 1)."""
    pixels = [np.asarray(sample.pictures.open(int(index)))[..., None] for index in indices]
    return np.float32(pixels) / 127.5 - 1


pixels, labels = pixels_of(training), sample.labels[training]
test_pixels, test_labels = pixels_of(test), sample.labels[test]
print(f"{len(pixels):,} pictures to train on, {len(test_pixels):,} to test")


# %%
def network_of(filters, segments, seed):
    """Two modules between a plain convolution and a head; segments None is one for each channel."""
    keras.utils.set_random_seed(seed)
    kind = "extreme_inception" if segments is None else "simplified_inception"  # towers are segments, step 5
    options = {"channels": filters, "filters": filters, "segments": segments or 1, "seed": seed}
    picture = keras.Input((28, 28, 1))
    maps = keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(picture)
    for number, size in enumerate((14, 7)):
        module = modules.build(kind, image_size=size, **options)
        module.name = f"module{number}"
        maps = module(keras.layers.BatchNormalization(momentum=0.9)(maps))  # few steps, so a short memory
        maps = maps if number else keras.layers.MaxPooling2D(2)(maps)
    return keras.Model(picture, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(maps)))


def weights_of(filters, segments):
    """Weights of one module: its 1x1 and its 3x3."""
    return filters**2 + 9 * filters * (1 if segments is None else filters // segments)


def as_dear(segments, as_filters=32):
    """The number of channels that makes a module with segments as dear as one with a single segment."""
    possible = range(segments or 8, 200, segments or 8)
    return min(possible, key=lambda filters: abs(weights_of(filters, segments) - weights_of(as_filters, 1)))


def accuracies(filters, segments):
    """Number of weights, and the accuracy on the test pictures from each seed."""
    found = []
    for seed in range(SEEDS):
        network = network_of(filters, segments, seed)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        falling = keras.optimizers.schedules.CosineDecay(0.003, EPOCHS * -(-len(pixels) // 64))
        network.compile(keras.optimizers.Adam(falling), loss, metrics=["accuracy"])
        network.fit(pixels, labels, batch_size=64, epochs=EPOCHS, verbose=0)
        found.append(network.evaluate(test_pixels, test_labels, verbose=0)[1])
    return network.count_params(), found


# %%
scale = {"1 segment": 1, "4 segments": 4, "one for each channel": None}
results = {}
for how in ("as wide", "as many weights"):
    for label, segments in scale.items():
        filters = 32 if how == "as wide" else as_dear(segments)
        first = results.get(("as wide", label)) if filters == 32 else None  # one segment is the same in both
        weights, found = results[how, label] = first or accuracies(filters, segments)
        print(f"{how:16}{label:22}{filters:>4} channels{weights:>8,} weights   accuracy {np.mean(found):.3f}"
              f"   ({min(found):.3f} to {max(found):.3f})")  # fmt: skip

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3), sharey=True)
for axis, how in zip(axes, ("as wide", "as many weights")):
    for place, label in enumerate(scale):
        found = results[how, label][1]
        axis.plot([place] * len(found), found, "o", color="tab:grey", alpha=0.6)
        axis.plot([place - 0.2, place + 0.2], [np.mean(found)] * 2, color="tab:blue")
    axis.set_xticks(range(len(scale)), scale)
    axis.set_title(how)
axes[0].set_ylabel("test accuracy")
plt.show()

# %% [markdown]
# **As wide**, accuracy falls with every step, from 0.760 to 0.664 for a sixth of the weights. So channels and space are not apart
# altogether: a 3x3 across all channels sees something that a 3x3 in each of them does not, and it is not for free.
#
# **As many weights**, it rises, if at all: from 0.760 to 0.769, where the seeds of one segment reach from 0.747 to 0.768 and those of one
# for each channel from 0.765 to 0.773. What segments save buys three times as many channels, and these make up for all that was
# lost. That is the hypothesis as one can hold it: not that looking across channels and space at once is useless, but that
# weights are spent better otherwise.
#
# **What of it is chance?** Of ten classes guessing names a tenth right. Of 2,000 test pictures a share of three quarters is
# known to about two points either way, and the three seeds of one network lie up to two points apart. Ten points between one
# segment and one for each channel, as wide, are far beyond that; the one point between the ends, with as many weights, is not:
# it says that nothing is lost, and no more.
#
# **Why two comparisons?** Each changes two things at once. As wide, segments take connections away *and* weights; with as many
# weights they take connections away and add channels. Only together do they say what a connection across both is worth: less
# than what its weights buy elsewhere.
#
# **What the second one does not count**: weights and multiply-accumulates are alike, and yet maps of three times as many
# channels are three times as large. They must be stored for the gradients, and read and written at each step, which depthwise
# layers do much of for little arithmetic. That is why a separable network is seldom as much faster as its multiply-accumulates
# promise ([what makes training fast](../kernels.md)).
#
# It is a tiny network, three epochs and small grey pictures; run it with more of each (`EPOCHS`, `PICTURES`, `SEEDS` above) before you build on
# it. On ImageNet, with networks a thousand times as large, the paper finds the same, and as small a difference.
#
# ## All of Xception
#
# Xception is the separable convolution of step 7 thirty-four times, behind a stem of two plain ones, in fourteen blocks with
# shortcuts around all but the first and the last:

# %%
shown(ception.build("xception"), "xception")

# %% [markdown]
# As a table of rows it is short, and this table *is* its definition here:

# %%
for number, row in enumerate(MODELS["xception"].spec.rows, 2):
    print(f"block{number:<3}{row.filters!s:18}shortcut {row.shortcut}, reduced by {row.reduce}")

# %%
for name in ("inception_v3", "xception"):
    cost = ception.summary(ception.build(name))
    print(f"{name:14}{cost.parameters:,} weights, {cost.macs:,} MACs")

# %% [markdown]
# As many weights as Inception V3, spent otherwise: that is the paper's comparison, and its Xception is the more accurate one,
# 0.790 against 0.782 of ImageNet's pictures (arXiv:1610.02357, table 1).
#
# `ception.build("xception", every={"segments": 4})` moves the whole network along the scale, `every={"inner": "relu"}` puts the ReLU
# back; with `ception train --every segments=4` it is trained so.
#
# Next: [Fashion-MNIST, and why it did not learn](fashion_mnist.md), [networks](../networks.md),
# [you have read ...](../you-have-read/README.md)
