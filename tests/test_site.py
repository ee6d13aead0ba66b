"""The site: links of the pages, what is said against a built one, and the whole of it where Zensical is installed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import build_site
from checked_site import faults

ROOT = Path(__file__).parents[1]


def written(folder: Path, **pages: str) -> Path:
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text)
    return folder


def test_links_are_changed_and_code_is_not():
    text = "[a](x.md) ![p](p.png)\n\n```\n[b](x.md)\n```\n\n`[c](x.md)` [![d](p.png)](x.md)\n"
    changed = build_site.linked(text, lambda link: link.upper())
    assert changed == text.replace("[a](x.md) ![p](p.png)", "[a](X.MD) ![p](P.PNG)").replace(
        "[![d](p.png)](x.md)", "[![d](p.png)](X.MD)"
    )


@pytest.mark.parametrize(("page", "target", "laid_out"), [
    ("export.md", "serving.md#requests", "serving.md#requests"),
    ("export.md", "https://example.org/a.md", "https://example.org/a.md"),
    ("export.md", "#litert", "#litert"),
    ("export.md", "../benchmarks/results/exports.csv", "repository/benchmarks/results/exports.csv"),
    ("how-to/speed.md", "../../CONTRIBUTING.md", "../repository/CONTRIBUTING.md.txt"),
    ("README.md", "zh/README.md", "zh/index.html"),
    ("zh/start.md", "../export.md#litert", "../export.html#litert"),
    ("zh/you-have-read/README.md", "../start.md", "../start.md"),
    ("zh/start.md", "../pictures/report.png", "../pictures/report.png"),
])  # fmt: skip
def test_where_links_lead_in_the_site(page, target, laid_out, tmp_path, monkeypatch):
    monkeypatch.setattr(build_site, "HTML", tmp_path)
    assert build_site.address(page, target) == laid_out
    if laid_out.startswith("repository/"):
        assert (tmp_path / laid_out).read_text() == (ROOT / "benchmarks/results/exports.csv").read_text()


def test_the_choice_of_language_leads_to_the_same_page(tmp_path):
    both = '<a href="./index.html" hreflang="en"><a href="./zh/index.html" hreflang="zh">'
    (tmp_path / "zh").mkdir()
    written(tmp_path, start=both, export=both)
    written(tmp_path / "zh", start='<a href="../index.html" hreflang="en"><a href="./index.html" hreflang="zh">')
    build_site.lead_across(tmp_path)
    led = {path.relative_to(tmp_path).as_posix(): re.findall(r'href="([^"]*)"', path.read_text())
           for path in tmp_path.rglob("*.html")}  # fmt: skip
    assert led == {
        "start.html": ["start.html", "zh/start.html"],
        "zh/start.html": ["../start.html", "start.html"],
        "export.html": ["export.html", "./zh/index.html"],
    }


def test_a_whole_site_has_no_faults(tmp_path):
    page = '<h1 id="top">A</h1><a href="b.html#deep">b</a><a href="https://example.org">web</a><img src="b.html">'
    assert faults(written(tmp_path, a=page, b='<a name="deep"></a><a href="#deep">d</a>')) == []


@pytest.mark.parametrize(("page", "said"), [
    ('<a href="c.html">', "a.html links to c.html: there is no such file"),
    ('<a href="a.html#no">', "a.html links to a.html#no: the page has no such anchor"),
    ('<a href="#no">', "a.html links to #no: the page has no such anchor"),
    ('<img src="p.png">', "a.html links to p.png: there is no such file"),
    ('<script src="https://example.org/x.js"></script>', "a.html loads https://example.org/x.js from elsewhere"),
    ('<link rel="stylesheet" href="//fonts.example.org/f">', "a.html loads //fonts.example.org/f from elsewhere"),
])  # fmt: skip
def test_each_fault_is_named(tmp_path, page, said):
    assert faults(written(tmp_path, a=page)) == [said]


def test_a_style_that_loads_from_elsewhere_is_named(tmp_path):
    (tmp_path / "s.css").write_text("@import 'https://fonts.example.org/f.css'; a { background: url(data:x) }")
    assert faults(tmp_path) == ["s.css loads https://fonts.example.org/f.css from elsewhere"]


@pytest.mark.slow
def test_the_site_is_built_without_a_fault():
    pytest.importorskip("zensical", reason="zensical is not installed")
    command = [sys.executable, "tools/build_site.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.match(r"\d+ pages in ", done.stdout)
    for page in (ROOT / "docs").rglob("*.md"):
        assert (build_site.HTML / build_site.built_as(page.relative_to(ROOT / "docs").as_posix())).is_file()
    assert all("unpkg.com" not in page.read_text() for page in build_site.HTML.rglob("*.html"))
