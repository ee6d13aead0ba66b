"""What the HTML pages share: their frame, and pictures and figures within them. A page needs nothing outside itself."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ception.files import whole

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure
    from PIL.Image import Image

_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def render(template: str, context: Mapping[str, Any], path: Path) -> None:
    """Write a page.

    Args:
        template: Path of a Jinja template within the package, such as `evaluation/report.html.jinja`. It extends
            `pages/page.html.jinja`, which takes `title` and `footer` beside what the template itself takes.
        context: What the template takes; all but `Markup` is escaped.
        path: The file.

    Raises:
        RunError: the file cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ception", "."), autoescape=True, trim_blocks=True, undefined=StrictUndefined
    )
    environment.filters["with_options"] = with_options
    page = environment.get_template(template).render(context)
    with whole(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8", errors="replace")  # names of files may be no Unicode


def with_options(text: str) -> Markup:
    """A text in which no option, such as --head-only, is broken at its hyphens."""
    from markupsafe import Markup, escape

    return Markup(_OPTION.sub(r'<span class="flag">\g<0></span>', str(escape(text))))


def thumbnail(image: Image, side: int, quality: int = 85) -> str:
    """A picture as a data URI with a JPEG, as `jpeg` makes it."""
    return data_uri(jpeg(image, side, quality))


def data_uri(encoded: bytes) -> str:
    """A JPEG as an address that holds it."""
    return "data:image/jpeg;base64," + base64.b64encode(encoded).decode()


def jpeg(image: Image, side: int, quality: int = 85) -> bytes:
    """A small picture as a JPEG.

    A small picture is enlarged by a whole number with its pixels kept sharp, so that they can be told.

    Args:
        image: Of mode L or RGB; it is left as it is.
        side: Most pixels of width and height.
        quality: Of the JPEG, 1..95.
    """
    from PIL.Image import Resampling

    longer = max(image.size)
    if longer <= side // 2:
        factor = side // longer
        small = image.resize((image.width * factor, image.height * factor), Resampling.NEAREST)
    else:
        small = image.copy()
        small.thumbnail((side, side))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def svg(figure: Figure) -> Markup:
    """The figure as SVG whose lines and letters take the page's colours and fonts."""
    import matplotlib as mpl
    from markupsafe import Markup

    stream = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ception"}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :].replace("#000000", "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"(font: [^;\"]*?)'[^;\"]*", r"\1system-ui, sans-serif", text)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)  # not needed within HTML, and the page names no address
    return Markup(text.replace("xlink:href", "href"))
