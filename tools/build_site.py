"""Build the documentation's site, in English and Chinese, into build/site/html: `make docs`.

python tools/build_site.py

The pages are plain Markdown and link to each other, and to files beside docs/, as a code host wants it. Here they are
laid out for Zensical: what they link to outside of docs/ is copied, and links are changed to where it lies. What was
built is looked through (checked_site.py): no link leads nowhere, and nothing is loaded from elsewhere.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from checked_site import faults

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
HERE = Path(__file__).parent / "site"
BUILD = ROOT / "build" / "site"
HTML = BUILD / "html"
OUTSIDE = "repository"  # where the site keeps what the pages link to outside of docs/
SHIM = "https://unpkg.com/iframe-worker/shim"  # what Zensical loads for the search in pages that are opened from a disk
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^)\s]+)(\))")
FENCE = re.compile(r"^(```.*?^```[^\n]*$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def linked(text: str, change: Callable[[str], str]) -> str:
    """Markdown with every address of a link changed, code left as it is.

    Args:
        text: The page.
        change: From an address as it stands in the page to the new one.
    """
    parts = FENCE.split(text)
    parts[::2] = [LINK.sub(lambda link: link[1] + change(link[2]) + link[3], part) for part in parts[::2]]
    return "".join(parts)


def language_of(page: str) -> str:
    """The language of a page, by its path in docs/."""
    return "zh" if page.startswith("zh/") else "en"


def built_as(page: str) -> str:
    """Where the site has a page of docs/, from its top."""
    return re.sub(r"README\.html$", "index.html", str(Path(page).with_suffix(".html")))


def address(page: str, target: str) -> str:
    """The address by which the laid-out page reaches what it links to.

    Args:
        page: Path of the page in docs/.
        target: An address as the page has it.
    """
    if re.match(r"[a-z]+:|#", target):
        return target
    path, hash_, anchor = target.partition("#")
    folder = posixpath.dirname(page)
    there = posixpath.normpath(posixpath.join("docs", folder, path))  # from the top of the repository
    if not there.startswith("docs/"):
        file = ROOT / there
        name = there + ".txt" if file.suffix == ".md" else there  # a text to look at, and no page of the site
        _copied(file, HTML / OUTSIDE / name)
        return posixpath.relpath(f"{OUTSIDE}/{name}", folder or ".") + hash_ + anchor
    inside = there.removeprefix("docs/")
    if language_of(inside) == language_of(page) or not inside.endswith(".md"):
        return target
    return posixpath.relpath(built_as(inside), folder or ".") + hash_ + anchor


def _copied(source: Path, target: Path) -> None:
    """Copy a file or folder, if it is there: the look through the site names what is not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.is_file():
        shutil.copy(source, target)


def lay_out(language: str) -> Path:
    """Write the pages of one language as Zensical takes them; the file with its settings."""
    folder = BUILD / language
    pages = folder / "pages"
    for source in sorted(DOCS.rglob("*")):
        page = source.relative_to(DOCS).as_posix()
        if not source.is_file() or language_of(page) != language:
            continue
        target = pages / page.removeprefix("zh/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            text = linked(source.read_text(encoding="utf-8"), lambda link, page=page: address(page, link))
            target.write_text(text, encoding="utf-8")
        else:
            shutil.copy(source, target)
    shutil.copy(HERE / "site.css", pages)
    settings = folder / "zensical.toml"
    shutil.copy(HERE / f"{language}.toml", settings)
    return settings


def build(language: str, to: Path) -> None:
    """Build the pages of one language into a folder.

    Raises:
        SystemExit: Zensical has something to say against them.
    """
    settings = lay_out(language)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "--config-file", str(settings)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"})
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}")
    shutil.copytree(settings.parent / "site", to, dirs_exist_ok=True)
    shutil.copy(HERE / "iframe-worker.js", to)
    (to / "404.html").unlink()  # for a server's root alone: no disk asks for it
    for page in to.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        local = posixpath.relpath(to / "iframe-worker.js", page.parent)
        page.write_text(text.replace(SHIM, local), encoding="utf-8")


def lead_across(html: Path) -> None:
    """Let the choice of language on each page lead to the same page in it, where there is one.

    Args:
        html: Folder of the English site, with the Chinese one in `zh/`.
    """
    for page in html.rglob("*.html"):
        name = page.relative_to(html).as_posix().removeprefix("zh/")
        text = page.read_text(encoding="utf-8")
        for language, folder in (("en", html), ("zh", html / "zh")):
            if (folder / name).is_file():
                link = posixpath.relpath(folder / name, page.parent)
                text = re.sub(rf'href="[^"]*" hreflang="{language}"', f'href="{link}" hreflang="{language}"', text)
        page.write_text(text, encoding="utf-8")


def main() -> None:
    """Build the site, and leave with what is wrong with it."""
    shutil.rmtree(BUILD, ignore_errors=True)
    build("en", HTML)
    build("zh", HTML / "zh")
    lead_across(HTML)
    if found := faults(HTML):
        sys.exit("\n".join(found))
    print(f"{sum(1 for _ in HTML.rglob('*.html'))} pages in {HTML / 'index.html'}")


if __name__ == "__main__":
    main()
