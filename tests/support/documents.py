"""The pages of the documentation: their blocks, the commands in them, and a folder in which these run in small."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
SHELL = ("", "bash", "console", "sh")
_FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n+)?^```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^```", re.M | re.S
)
_SPAN = re.compile(r"(?<!`)`(ception [^`]+)`(?!`)")
PER_CLASS = 24  # pictures of the practice folder


@dataclass(frozen=True)
class Block:
    """A block of a page: the line it begins on, its language and text, and why it is not run, if it is not."""

    line: int
    language: str
    body: str
    reason: str | None

    @property
    def commands(self) -> list[str]:
        """The lines that are commands of Ception, without what comes before them in a pipe."""
        if self.language not in SHELL:
            return []
        lines = self.body.replace("\\\n", " ").splitlines()
        return [found[1] for line in lines if (found := re.search(r"^(?:[^#]*\| )?(ception .*)", line))]


def blocks(text: str) -> list[Block]:
    """Every fenced block of a page."""
    return [
        Block(text.count("\n", 0, found.start("body")), found["language"], found["body"], found["reason"])
        for found in _FENCE.finditer(text)
    ]


def spans(text: str) -> list[str]:
    """Commands within sentences."""
    return [" ".join(command.split()) for command in _SPAN.findall(_FENCE.sub("", text))]


def arguments(command: str) -> list[str]:
    """What the command line gets; dots stand for what a page leaves out."""
    return [word for word in shlex.split(command, comments=True)[1:] if word != "..."]


def headings(text: str) -> Iterator[str]:
    """The headings of a page, in order."""
    return (found[0] for found in re.finditer(r"^#{1,6} .*$", _FENCE.sub("", text), re.M))


def write_stage(folder: Path) -> None:
    """Write what the pages' commands want: a practice folder, a messy one, new pictures, photos, and lists.

    Args:
        folder: Where.
    """
    from ception.data import sources

    sample = sources.load("fashion-mnist-sample")
    counts = dict.fromkeys(("bag", "coat", "sandal", "shirt"), 0)
    for index, label in enumerate(sample.labels):
        name = sample.class_names[label].lower()
        if counts.get(name, PER_CLASS) < PER_CLASS:
            counts[name] += 1
            for data in ("clothes", "few", "mess"):
                path = folder / data / name / f"{index:04d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                sample.pictures.open(index).save(path)
    (folder / "mess" / "shirt" / "cut-off.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    rng = np.random.default_rng(0)
    for number in range(2 * PER_CLASS):
        name = ("cat", "dog")[number % 2]
        path = folder / "photos" / name / f"{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 100, (96, 96, 3), np.uint8)
        pixels[..., number % 2] += 100
        Image.fromarray(pixels).save(path)
    (folder / "new").mkdir()
    for name in counts:
        (folder / "new" / f"{name}.png").write_bytes(sorted((folder / "clothes" / name).iterdir())[0].read_bytes())
    for name in ("cat.jpg", "dog.jpg", "photo.jpg", "new/one.jpg"):
        (folder / name).write_bytes((folder / "photos" / "cat" / "000.jpg").read_bytes())
    rows = [f"{path.relative_to(folder)},{path.parent.name},{number % 2}"
            for number, path in enumerate(sorted((folder / "photos").rglob("*.jpg")))]  # fmt: skip
    (folder / "list.csv").write_text("path,label,camera\n" + "\n".join(rows) + "\n")


def thin_out(folder: Path) -> None:
    """Leave some pictures of each class of the practice folder, where a page has written all of them."""
    for of_class in (folder / "clothes").iterdir():
        for picture in sorted(of_class.iterdir())[PER_CLASS:]:
            picture.unlink()
