"""What Start shows of commands is what they print, line by line, whatever the numbers."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from support.documents import ROOT, Block, arguments, blocks, write_stage
from support.marks import not_on_jax

PAGE = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
# what else follows from pictures, and so differs from the page's in a folder of some dozen
_BEGINNINGS = ("Most confused", "Found", "new/", "With --min-confidence", "Loading Keras", "Everything is in", "...")
_ALWAYS = ("Checked for", "Not checked", "Page:", "Report:", "Next:", "Index of")  # whatever the pictures
_NEAR = 5  # lines from the end of a block to the beginning of the next one that belongs to it


def shown(page: str) -> list[tuple[Block, Block]]:
    """The blocks of commands that have what these print below them."""
    return [
        (one, other)
        for one, other in pairwise(blocks(page))
        if one.commands and one.reason is None and other.language == "text" and other.line - _end(one) < _NEAR
    ]


def _end(block: Block) -> int:
    return block.line + block.body.count("\n")


def bones(text: str) -> set[str]:
    """Lines without numbers and folders; of those that pictures decide about, the beginning."""
    lines = set()
    for line in filter(None, map(str.strip, text.splitlines())):
        bare = re.sub(r"\d[\d,.]*", "#", re.sub(r"(clothes|new)/\w+.*\.png$|(?<=into )\S+|(?<=[ :])/\S*/", "", line))
        lines.add(next((start for start in _BEGINNINGS if line.startswith(start)), " ".join(bare.split())))
    return lines - {"...", "Loading Keras"}


def test_blocks_are_paired():
    assert [one.commands[0].split()[1] for one, _ in shown(PAGE)] == ["check", "train", "predict", "evaluate"]


def test_lines_without_what_pictures_decide():
    text = "epoch 1/10  loss 0.4863\nepoch 2/10  loss 1.2\n\nFound: a\nReport: file:///tmp/a/b.html\nin /tmp/c (4 MB)"
    assert bones(text) == {"epoch #/# loss #", "Found", "Report: file:b.html", "in c (# MB)"}


@not_on_jax
@pytest.mark.slow
def test_start_shows_what_is_printed(tmp_path, own_cache, monkeypatch, run_cli):
    write_stage(tmp_path)
    monkeypatch.chdir(tmp_path)
    for commands, transcript in shown(PAGE):
        printed = ""
        for command in commands.commands:
            words = ["0.1" if word == "0.97" else word for word in arguments(command)]
            code, out, err = run_cli(*words, *(["--epochs", "3"] if words[0] == "train" else []))
            assert code == 0 or (code, words[0]) == (1, "check"), err
            printed += out + err
        assert bones(transcript.body) - bones(printed) == set(), printed
        if len(commands.commands) == 1:  # of several the page shows what is new
            left_out = bones(printed) - bones(transcript.body)
            assert not [line for line in left_out if line.startswith(_ALWAYS)]
