"""Execute the tutorials and write each as a page with what it printed and drew: `make tutorials`.

python tools/write_tutorials.py [NAME ...]

The sources are docs/tutorials/*.py, notebooks in jupytext's percent format. A page holds the same cells, which
tests/test_tutorials.py compares, and the tests run the sources in small.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from base64 import b64decode
from functools import reduce
from pathlib import Path

import jupytext
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parents[1] / "docs" / "tutorials"
NOTE = "<!-- Written by tools/write_tutorials.py from {name}.py: change that instead. -->"
NOT_RUN = "<!-- not run: a tutorial, whose source runs whole -->\n```python\n"
# of a cell, and of what it prints: after nbclient's own 4 seconds a busy machine had lost some without a word
_TIMEOUT_S, _OUTPUT_S = 3600, 300
# all blocks and pictures between two pieces of text
_RUN = re.compile(r"(?:(?:<!-- not run: [^\n]+\n)?```\w*\n(?s:.*?)\n```\n\n|!\[[^\n]+\n\n)+")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def executed(source: Path) -> NotebookNode:
    """The notebook of a source with its outputs, run in an empty folder; progress is left out."""
    notebook = jupytext.read(source)
    with tempfile.TemporaryDirectory() as place:
        os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
        NotebookClient(
            notebook, timeout=_TIMEOUT_S, iopub_timeout=_OUTPUT_S, raise_on_iopub_timeout=True,
            resources={"metadata": {"path": place}},
        ).execute()  # fmt: skip
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = _joined([one for one in cell.outputs if not _passing(one)])
    return notebook


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """The outputs of a cell, as one where progress stood between what it printed."""
    joined: list[NotebookNode] = []
    for one in outputs:
        if joined and one.output_type == joined[-1].output_type == "stream":
            joined[-1].text += one.text
        else:
            joined.append(one)
    return joined


def _passing(output: NotebookNode) -> bool:
    """Whether an output is progress: on standard error, or what a reporter shows in a notebook."""
    shown = output.output_type == "display_data" and "image/png" not in output.data
    return shown or output.get("name") == "stderr"


def page(notebook: NotebookNode, name: str) -> tuple[str, list[bytes]]:
    """A notebook in Markdown, and the pictures that it shows as `pictures/NAME-1.png` and on."""
    parts, pictures = [NOTE.format(name=name)], []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"{NOT_RUN}{cell.source}\n```")
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                pictures.append(b64decode(output.data["image/png"]))
                parts.append(f"![What the code above draws](pictures/{name}-{len(pictures)}.png)")
            elif text := _COLOUR.sub("", output.get("text") or output.data.get("text/plain", "")).strip("\n"):
                parts.append(f"```text\n{text}\n```")
    return "\n\n".join(parts) + "\n", pictures


def write(name: str) -> None:
    """Write the page of a tutorial, and its pictures beside it."""
    text, pictures = page(executed(FOLDER / f"{name}.py"), name)
    folder = FOLDER / "pictures"
    folder.mkdir(exist_ok=True)
    for old in folder.glob(f"{name}-*.png"):
        old.unlink()
    for number, picture in enumerate(pictures, 1):
        (folder / f"{name}-{number}.png").write_bytes(picture)
    (FOLDER / f"{name}.md").write_text(text, encoding="utf-8")
    for other in FOLDER.parent.glob(f"*/tutorials/{name}.md"):  # the same in another language
        other.write_text(with_blocks_of(text, other.read_text(encoding="utf-8")), encoding="utf-8")


def with_blocks_of(text: str, other: str) -> str:
    """A page in another language with the blocks and pictures of a new one.

    Raises:
        ValueError: its sentences stand between fewer or more of them.
    """
    new, sentences = _RUN.findall(text), _RUN.split(other)
    if len(sentences) != len(new) + 1:
        raise ValueError(f"a page has {len(sentences)} parts beside {len(new)} blocks")
    moved = ("](pictures/", "](../../tutorials/pictures/"), ("](../pictures/", "](../../pictures/")
    blocks = [reduce(lambda block, one: block.replace(*one), moved, block) for block in new] + [""]
    return "".join(part + block for part, block in zip(sentences, blocks, strict=True))


if __name__ == "__main__":
    for wanted in sys.argv[1:] or sorted(path.stem for path in FOLDER.glob("*.py")):
        write(wanted)
