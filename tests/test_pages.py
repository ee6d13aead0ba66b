from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from jinja2 import UndefinedError
from matplotlib.figure import Figure
from PIL import Image

from ception import pages


def opened(uri: str) -> Image.Image:
    head, data = uri.split(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


class TestThumbnail:
    @pytest.mark.parametrize(
        ("size", "expected"),
        [((1000, 500), (144, 72)), ((500, 1000), (72, 144)), ((100, 80), (100, 80)), ((28, 14), (140, 70)),
         ((72, 1), (144, 2)), ((1000, 1), (144, 1))],
    )  # fmt: skip
    def test_sizes(self, size, expected):
        image = Image.new("RGB", size)
        assert opened(pages.thumbnail(image, 144)).size == expected
        assert image.size == size

    def test_enlarged_pixels_stay_sharp(self):
        small = np.random.default_rng(0).integers(0, 2, (9, 9), np.uint8) * 255
        shown = np.asarray(opened(pages.thumbnail(Image.fromarray(small), 144, quality=95)))
        np.testing.assert_allclose(shown[8::16, 8::16].astype(int), small, atol=16)
        assert ((shown < 64) | (shown > 191)).mean() > 0.99

    def test_quality_costs_bytes(self):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (144, 144, 3), np.uint8))
        assert len(pages.thumbnail(image, 144, 40)) < 0.7 * len(pages.thumbnail(image, 144, 90))


def test_an_option_is_not_broken_at_its_hyphens_and_the_rest_is_escaped():
    assert pages.with_options("a -- b<c --no-flip --epochs 2 (--head-only)") == (
        'a -- b&lt;c <span class="flag">--no-flip</span> <span class="flag">--epochs</span> 2 '
        '(<span class="flag">--head-only</span>)'
    )


def test_a_figure_takes_the_pages_colours_and_names_no_address():
    figure = Figure()
    figure.subplots().plot([1, 2], label="a < b")
    figure.legend()
    text = pages.svg(figure)
    assert text.startswith("<svg")
    assert "currentColor" in text
    assert "#000000" not in text
    assert "a &lt; b" in text
    assert "http" not in text
    assert text == pages.svg(figure)


def test_a_value_that_a_page_lacks_is_a_fault_and_leaves_nothing(tmp_path):
    with pytest.raises(UndefinedError, match="subtitle"):
        pages.render("evaluation/report.html.jinja", {"title": "t", "footer": ""}, tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []
