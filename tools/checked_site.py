"""What is wrong with a built site: links that lead nowhere, and what it would load from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# by these a page loads something, where a link only leads to it
LOADING = {"script", "img", "iframe", "source", "video", "audio", "embed"}
LOADING_RELATIONS = {"stylesheet", "icon", "preload", "preconnect", "modulepreload", "prefetch", "manifest"}
ADDRESS_IN_STYLE = re.compile(r"(?:url\(\s*|@import\s+)['\"]?((?:https?:)?//[^'\")\s]+)")


class _Page(HTMLParser):
    """The addresses and anchors of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.led_to: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag leads to, loads, and is called."""
        values = {name: value or "" for name, value in attrs}
        self.anchors.update(filter(None, (values.get("id"), values.get("name") if tag == "a" else None)))
        loads = tag in LOADING or (tag == "link" and not LOADING_RELATIONS.isdisjoint(values.get("rel", "").split()))
        addresses = [values[name] for name in ("href", "src") if values.get(name)]
        (self.loaded if loads else self.led_to).extend(addresses)


def faults(site: Path) -> list[str]:
    """Each fault of a site in a line that names page and address; none where all is well.

    Args:
        site: Folder of the built site. Addresses of the web are not fetched.
    """
    pages = {path: _read(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        where = path.relative_to(site)
        found += [f"{where} loads {link} from elsewhere" for link in page.loaded if _outside(link)]
        for link in page.led_to + page.loaded:
            if not _outside(link) and (said := _missing(path, link, pages)):
                found.append(f"{where} links to {link}: {said}")
    for style in sorted(site.rglob("*.css")):
        addresses = ADDRESS_IN_STYLE.findall(style.read_text(encoding="utf-8"))
        found += [f"{style.relative_to(site)} loads {link} from elsewhere" for link in addresses]
    return found


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _outside(link: str) -> bool:
    parts = urlsplit(link)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def _missing(path: Path, link: str, pages: dict[Path, _Page]) -> str | None:
    """Why a link within the site leads nowhere; None where it leads somewhere."""
    parts = urlsplit(link)
    if parts.scheme == "data":
        return None
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.exists():
        return "there is no such file"
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].anchors:
        return "the page has no such anchor"
    return None
