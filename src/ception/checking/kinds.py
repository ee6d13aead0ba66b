"""Every kind of finding once: how grave it is, what training does with it, the way out."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from ception.data import grouping
from ception.results import Severity


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Something about data that a person should know.

    Attributes:
        name: Short name for machines.
        severity: `error` spoils training, `warning` may spoil it or its scores, `note` is worth knowing.
        title: What it is.
        unit: What one case is.
        in_training: What Ception does with it.
        way_out: What the user can do.
    """

    name: str
    severity: Severity
    title: str
    unit: str
    in_training: str
    way_out: str


KINDS = (
    Kind(
        name="unreadable", severity="error", title="Pictures that cannot be read", unit="picture",
        in_training="Training stops before its first epoch and names them.",
        way_out="Replace or delete them, or train with --skip-unreadable.",
    ),
    Kind(
        name="two_classes", severity="error", title="The same picture in two classes", unit="group",
        in_training="The network is taught two answers to one picture, and one of them counts as a mistake.",
        way_out="Delete the copies whose class is wrong.",
    ),
    Kind(
        name="near_two_classes", severity="warning", title="Nearly the same picture in two classes", unit="group",
        in_training="The network is taught different answers to pictures that look the same.",
        way_out="Look at them: move or delete those whose class is wrong.",
    ),
    Kind(
        name="placeholders", severity="warning", title="Pictures that look like placeholders", unit="case",
        in_training="Each is taught as an example of its class, which it does not show.",
        way_out="Look at them, and delete those that say that there is no picture, or are empty: they belong to no "
        "class.",
    ),
    Kind(
        name="two_splits", severity="error", title="The same picture in two splits", unit="group",
        in_training="The data state the split, so it is kept; what was trained on does not count in the scores.",
        way_out="Delete the copies in all splits but one. (Splits that Ception makes never part equal files.)",
    ),
    Kind(
        name="near_two_splits", severity="warning", title="Nearly the same picture in two splits",
        unit="group",
        in_training="The automatic split follows each file's bytes: equal files never part, but these do, and scores "
        "on them are too good.",
        way_out="Delete all but one of each group, or state the split in a CSV (path,label,split) that keeps them "
        "together.",
    ),
    Kind(
        name="series", severity="warning", title="Names that look like frames of series", unit="case",
        in_training="A split by pictures puts frames of one series into several, and scores on them are too good.",
        way_out=f"Keep each series in one split: --group {shlex.quote(grouping.SERIES)}, for train and check.",
    ),
    Kind(
        name="augmented", severity="warning", title="Names of augmented copies beside their originals", unit="group",
        in_training="A split by pictures puts a picture and its changed copies into several, and scores on them are "
        "too good.",
        way_out="Delete the copies, as training changes pictures itself (--crop, --colour, --randaugment), or keep "
        f"each picture with its copies in one split: --group {grouping.ORIGINAL}, for train and check.",
    ),
    Kind(
        name="too_few", severity="error", title="Too few pictures to train and score", unit="case",
        in_training="Training is refused.",
        way_out="Add pictures, or remove the class; a model can be scored on all of them with evaluate --split all.",
    ),
    Kind(
        name="few_scored", severity="note", title="Few pictures to judge a model by", unit="split",
        in_training="Scores on so few are known roughly only, and which epoch is the best is partly chance.",
        way_out="Collect more pictures; until then read the interval, not the accuracy.",
    ),
    Kind(
        name="shrunk", severity="error", title="Pictures of which the network sees next to nothing", unit="picture",
        in_training="They are shrunk so far that what tells the classes apart may be gone.",
        way_out="Give a larger --image-size, or leave out --model and --image-size, for what suits photos.",
    ),
    Kind(
        name="empty_class", severity="error", title="Class folders without a picture", unit="folder",
        in_training="They are passed over: for the network there is no such class.",
        way_out="Put pictures in, or remove the folder.",
    ),
    Kind(
        name="unknown_classes", severity="error", title="Classes that the model does not know", unit="class",
        in_training="The model cannot be scored on this data; a new training does not mind.",
        way_out="Rename the classes as the model calls them, or train a new model.",
    ),
    Kind(
        name="foreign_suffix", severity="warning", title="Pictures passed over for their suffix", unit="file",
        in_training="They are left out.",
        way_out="Rename them as what they are.",
    ),
    Kind(
        name="absent_classes", severity="note", title="Classes of the model that the data lack", unit="class",
        in_training="The model is scored without them.",
        way_out="Add pictures of them, if they should count.",
    ),
    Kind(
        name="mislabelled", severity="note", title="Pictures whose class is improbable", unit="picture",
        in_training="The network is taught the label that each has; a wrong one counts as a mistake of the network.",
        way_out="Look at them, the surest first: move those that are wrong into the folder of their class, or write "
        "a CSV (path,label) with the right ones. What is odd but right may stay.",
    ),
    Kind(
        name="misnamed", severity="note", title="Pictures in another format than their suffix says", unit="picture",
        in_training="They are opened as what they are.",
        way_out="Rename them, if other programs shall open them too.",
    ),
    Kind(
        name="hidden", severity="note", title="Hidden folders, and folders that systems leave", unit="folder",
        in_training="They are passed over.",
        way_out="Nothing needs to be done, unless one is a class: give that a name without a dot.",
    ),
    Kind(
        name="outside", severity="note", title="Pictures outside the class folders", unit="picture",
        in_training="They are left out.",
        way_out="Move them into the folder of their class, if they belong to the data.",
    ),
    Kind(
        name="copies", severity="note", title="The same picture more than once in a class", unit="group",
        in_training="Each copy counts. A split that Ception makes keeps them together.",
        way_out="Delete the copies, if the picture shall not count more than others.",
    ),
    Kind(
        name="near_copies", severity="note", title="Nearly the same picture more than once in a class", unit="group",
        in_training="Each counts; groups that the split parts are listed apart.",
        way_out="Nothing needs to be done; delete some, if they shall not count more than others.",
    ),
    Kind(
        name="imbalance", severity="note", title="Classes of very different size", unit="class",
        in_training="Each picture counts the same, so the network leans towards the large classes.",
        way_out="Add pictures of the small classes, train with --balance, and look at the balanced accuracy.",
    ),
    Kind(
        name="small", severity="note", title="Pictures smaller than the network's", unit="picture",
        in_training="They are enlarged, which adds no detail.",
        way_out="Train with a smaller --image-size, or use larger pictures.",
    ),
    Kind(
        name="rotated", severity="note", title="Pictures turned by EXIF", unit="picture",
        in_training="They are turned upright.",
        way_out="Nothing needs to be done; other programs may show them lying.",
    ),
    Kind(
        name="alpha", severity="note", title="Pictures with transparency", unit="picture",
        in_training="Whatever is transparent becomes white.",
        way_out="Lay them over another ground, if white is wrong.",
    ),
    Kind(
        name="cmyk", severity="note", title="Pictures in CMYK", unit="picture",
        in_training="They become RGB without a colour profile, so that colours shift a little.",
        way_out="Convert them to RGB with their profile, if colours matter.",
    ),
    Kind(
        name="deep", severity="note", title="Pictures with 16 bits", unit="picture",
        in_training="They are scaled to 8 bits, from the whole range.",
        way_out="Stretch their values to the range that counts and save them with 8 bits, if they look dark.",
    ),
    Kind(
        name="animated", severity="note", title="Pictures with several frames or pages", unit="picture",
        in_training="The first frame is used.",
        way_out="Save other frames as pictures of their own, if they count.",
    ),
)  # fmt: skip
