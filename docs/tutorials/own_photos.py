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
# # Fine-tune on your own photos: check, train, read, mend, serve
#
# You have a hundred pictures of each class, some of them wrong. A network that has learnt from many *other* pictures is
# fine-tuned on yours. With photos that network is Xception with ImageNet's weights, which `ception train photos/` fetches by
# itself. Here it is a small one that has learnt other clothes, so that all of this runs without a download in a minute or
# two. Every step is a command, too; it stands beside it.

# %%
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import ception
from ception.data import sources

PER_CLASS = 100
KNOWN = 600
EPOCHS = 8
# a quarter of the filters of GoogLeNet, at 32 pixels: small enough for a minute or two
SMALL = {"model": "inception_v1", "depth_multiplier": 0.25, "image_size": 32}


def write(folder, names, most):
    """A folder for each class with some pictures of the sample that comes with Ception."""
    sample, count = sources.load("fashion-mnist-sample"), dict.fromkeys(names, 0)
    for index, label in enumerate(sample.labels):
        name = sample.class_names[label].lower().replace("/", "-").replace(" ", "-")
        if count.get(name, most) < most:
            count[name] += 1
            path = Path(folder, name, f"{index:05d}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            sample.pictures.open(index).save(path)


# %% [markdown]
# ## Weights that know something
#
# Six kinds of clothes, and none of yours.

# %%
write("others", ("trouser", "pullover", "dress", "sneaker", "ankle-boot", "t-shirt-top"), KNOWN)
others = ception.train("others", epochs=EPOCHS, learning_rate=0.05, **SMALL)
weights = others.folder / "model.keras"
print(others.scores)

# %% [markdown]
# ## Your pictures, with mistakes
#
# Bags, coats, sandals and shirts; eight bags lie among the sandals, one picture stands twice, and one file is cut off.

# %%
write("mine", ("bag", "coat", "sandal", "shirt"), PER_CLASS)
wrong = sorted(Path("mine/bag").iterdir())[:8]
for picture in wrong:
    shutil.move(picture, Path("mine/sandal", picture.name))
shutil.copy(sorted(Path("mine/coat").iterdir())[0], "mine/shirt/copy.png")
_ = Path("mine/shirt/broken.png").write_bytes(sorted(Path("mine/shirt").iterdir())[0].read_bytes()[:90])

# %% [markdown]
# ## Check
#
# `ception check mine/ --model FILE` (of photos: `--weights imagenet`). Files are looked at, copies found; with a trained network
# labels are doubted, too: a linear probe on what it sees says what each picture is, without having been fitted on it. That
# the model knows other classes is an error for scoring it, and none for us, who only look through it.

# %%
found = ception.check("mine", model=str(weights))
print(found)

# %%
for finding in found.findings:
    if finding.kind in ("unreadable", "two_classes", "mislabelled"):
        print(f"\n{finding.severity}: {finding.title}. {finding.way_out}")
        for case in finding.items:
            print("  ", *(picture.path for picture in case.pictures), case.note)

# %% [markdown]
# What is broken or stands twice goes now. Labels wait: few of the wrong ones are doubted, and right ones, too, for the network
# has never seen a bag.

# %%
Path("mine/shirt/broken.png").unlink()
Path("mine/shirt/copy.png").unlink()

# %% [markdown]
# ## Train
#
# `ception train mine/ --model inception_v1 --weights FILE`: a fresh head is solved on what the frozen network sees, then the
# last two blocks are trained with it. Beside it the same network from nothing, for which a hundred pictures of each class and
# eight epochs are too little.

# %%
tuned = ception.train("mine", weights=str(weights), **SMALL)
print(tuned.scores)

# %%
scratch = ception.train("mine", epochs=EPOCHS, learning_rate=0.05, **SMALL)
print(scratch.scores)

# %% [markdown]
# Is the difference real, or luck with a few dozen test pictures? `ception compare` asks on the same pictures.

# %%
compared = ception.compare(scratch.folder, tuned.folder)
low, high = compared.difference_interval
print(f"{compared.difference:+.3f} ({low:+.3f} to {high:+.3f}), p = {compared.p_value:.3g}")

# %% [markdown]
# ## Read the report
#
# `report.html` in the run folder is one page. Read it from above: is the whole of the interval better than what you had? Does the
# network beat a guess, and thumbnails alone? Then the worst mistakes: those that the network was sure of are either what it
# cannot see, or labels that are wrong ([every number and picture of it](../report.md)).
#
# The same scores in Python:

# %%
for name, scores in tuned.scores.per_class.items():
    print(f"{name:8} precision {scores.precision:.2f}   recall {scores.recall:.2f}   of {scores.support}")
for pair in tuned.scores.confused[:3]:
    print(f"{pair.count} times {pair.label} was called {pair.predicted}")

# %% [markdown]
# ## Mend labels
#
# A network that has learnt *these* classes doubts better, though from labels some of which are wrong: `separable_cnn`, which
# `ception train mine/` takes for small grey pictures, and then `ception check mine/ --model RUN`.

# %%
second = ception.train("mine")
print(second.scores)
found = ception.check("mine", model=str(second.folder / "model.keras"))
doubted = [case for one in found.findings if one.kind == "mislabelled" for case in one.items]
for case in doubted:
    print(case.pictures[0].path, case.note)

# %% [markdown]
# `check-mine.html` shows them side by side, to be looked at. Here we know which ones are wrong.

# %%
for case in doubted:
    picture = Path(case.pictures[0].path)
    if picture.name in {one.name for one in wrong}:
        shutil.move(picture, Path("mine/bag", picture.name))
left = sum(Path("mine/sandal", one.name).exists() for one in wrong)
print(f"{len(doubted)} labels doubted; {len(wrong) - left} of {len(wrong)} wrong ones are mended")

# %% [markdown]
# Then train again:

# %%
mended = ception.train("mine", weights=str(weights), **SMALL)
print(mended.scores)

# %% [markdown]
# The test pictures had wrong labels, too: scores from before and after do not measure the same, which is one more reason to look
# at labels first. And `separable_cnn` is about as good here, from nothing: clothes of 28 x 28 pixels are simple shapes, which
# is why it is what small grey pictures get. Photos are not.

# %% [markdown]
# ## Use
#
# `ception predict RUN PICTURES`. In a program the model is opened once and asked often. What it is not sure of is `unknown`.

# %%
write("new", ("bag", "coat", "sandal", "shirt", "trouser"), PER_CLASS + 2)
with ception.Predictor.open(mended.folder) as predictor:
    for folder in sorted(Path("new").iterdir()):
        (result,) = predictor.predictions(sorted(folder.iterdir())[-1], min_confidence=0.8)
        best = result.top[0]
        print(f"{folder.name:8} {'unknown' if result.unknown else best.class_name:8} {best.probability:.2f}")

# %% [markdown]
# Trousers are none of its classes. A threshold may catch them and need not: a class `other` with pictures of what else comes by
# is the surer way ([unknown classes and thresholds](../how-to/unknown.md)).
#
# ## Serve
#
# `ception serve RUN` answers over HTTP, and shows a page at the same address where pictures can be dropped. Here it takes a free
# port, and is asked by a program:

# %%
line = [sys.executable, "-m", "ception", "serve", f"clothes={mended.folder}", "--port", "0"]
server = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
try:
    said = next((one for one in server.stderr if "Answering" in one), "it has ended")
    address = re.search(r"http://[\w.:]+", said)[0]
    picture = sorted(Path("new/bag").iterdir())[-1].read_bytes()
    with urlopen(Request(f"{address}/predict?top=2", picture, {"Content-Type": "image/png"})) as answer:
        print(answer.read().decode())
finally:
    server.terminate()
    server.communicate()

# %% [markdown]
# Next: [serve the model](../serving.md), [export it](../export.md), [small data](../how-to/small-data.md).
