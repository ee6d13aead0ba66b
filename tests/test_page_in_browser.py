"""The server's page in a real browser: pictures in, answers, closer looks, corrections and tables out."""

from __future__ import annotations

import csv
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("fastapi", reason="fastapi is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")
from support.serving import LIMITS, Server, in_a_process, listening  # noqa: E402

pytestmark = pytest.mark.slow
AXE = Path(os.environ.get("AXE", "node_modules/axe-core/axe.min.js"))  # npm install axe-core


@pytest.fixture(scope="module")
def address(trained, tmp_path_factory):
    with in_a_process(trained, tmp_path_factory.mktemp("served")) as (_, address, _):
        yield address


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium") or pytest.skip("needs chromium, which is not here")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(
    params=[(1100, "light"), (1100, "dark"), (390, "light"), (390, "dark")], ids=lambda one: "-".join(map(str, one))
)
def page(request, browser, address, trained):
    """The page with six pictures answered; nothing may be said on its console."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    shown, said = context.new_page(), []
    shown.on("console", lambda message: said.append(message.text))
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on(
        "request",
        lambda asked: said.append(asked.url) if not asked.url.startswith((address, "blob:", "data:")) else None,
    )
    shown.goto(address)
    shown.set_input_files("#files", sorted((trained.parents[1] / "colours").rglob("*.png"))[::20])
    shown.get_by_text("6 pictures answered").wait_for()
    yield shown
    assert said == []
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def downloaded(page, button: str) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.click(button)
    with Path(download.value.path()).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_answers_are_the_models(page, trained):
    import ception

    rows = downloaded(page, "#predictions")
    paths = sorted((trained.parents[1] / "colours").rglob("*.png"))[::20]
    expected = ception.predict(trained, paths)
    assert [row["path"] for row in rows] == [path.name for path in paths]
    assert [row["predicted"] for row in rows] == [prediction.top[0].class_name for prediction in expected]
    for row, prediction in zip(rows, expected, strict=True):
        assert float(row["probability"]) == pytest.approx(prediction.top[0].probability, abs=1e-5)


def test_labels_are_corrected_by_keyboard(page):
    first = page.locator(".card").nth(0)
    before = downloaded(page, "#corrections")
    first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("2")
    after = downloaded(page, "#corrections")
    assert list(after[0]) == ["path", "label"]
    assert after[0]["label"] != before[0]["label"]
    assert after[1:] == before[1:]
    assert downloaded(page, "#predictions")[0]["corrected"] == after[0]["label"]
    first.focus()
    page.keyboard.press("0")
    assert downloaded(page, "#corrections") == before


def test_sorts_and_filters(page):
    page.select_option("#sort", "unsure")
    shares = [float(text.split()[-2]) for text in page.locator(".answer").all_inner_texts()]
    assert shares == sorted(shares)
    name = page.locator("#class option").nth(1).get_attribute("value")
    page.select_option("#class", name)
    assert {text.split()[0] for text in page.locator(".answer").all_inner_texts()} == {name}


def test_a_name_and_its_probability_are_whole_each_in_a_line(page):
    whole = page.evaluate(
        """[...document.querySelectorAll('.answer')].map((one) => {
            one.firstChild.textContent = 'cardboard';
            const whole = (part) => part.getClientRects()[0].height < 30 && part.scrollWidth <= part.clientWidth;
            return [...one.children].map(whole);
        })"""
    )
    assert whole == [[True, True]] * 6


def test_a_closer_look_shows_what_spoke_for_a_class(page):
    page.locator(".card").nth(0).focus()
    page.keyboard.press("Enter")
    page.locator("#closer-classes button").nth(1).click()
    page.get_by_text("the warmer, the more").wait_for(timeout=60_000)
    box, heat = page.locator("#closer-picture").bounding_box(), page.locator("#closer-heat").bounding_box()
    assert heat == pytest.approx(box, abs=1)
    page.locator("#near-pictures li").nth(2).wait_for(timeout=60_000)
    near = page.locator("#near-pictures li").all_inner_texts()
    assert [text.split(",")[0] for text in near] == [
        page.locator("#closer-classes button").nth(0).inner_text().split()[1]
    ] * 3
    assert page.evaluate("[...document.querySelectorAll('#near-pictures img')].every((one) => one.naturalWidth > 0)")
    page.keyboard.press("Escape")
    assert not page.locator("#closer").is_visible()


def test_a_closer_look_takes_digits_too(page):
    before = downloaded(page, "#corrections")
    page.locator(".card").nth(0).press("Enter")
    second = page.locator("#closer-classes button").nth(1).inner_text().split()[1]
    page.keyboard.press("2")
    assert page.locator("#closer-note").inner_text() == f"Its label is {second} now."
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.className") == "card"
    assert downloaded(page, "#corrections")[0]["label"] == second != before[0]["label"]


def test_a_map_that_comes_late_is_not_laid_over_another_picture(page):
    held = []
    page.route("**/explain*", lambda route: held.append(route))
    page.locator(".card").nth(0).press("Enter")
    page.locator("#closer-classes button").nth(0).click()
    page.keyboard.press("Escape")
    page.locator(".card").nth(1).press("Enter")
    with page.expect_response("**/explain*") as late:
        held.pop().continue_()
    late.value.finished()
    page.wait_for_function(
        "new Promise((resolve) => setTimeout(() => resolve(true)))"
    )  # what waits for it had its turn
    assert not page.locator("#closer-heat").is_visible()
    assert page.locator("#closer-note").inner_text() == "Choose a class to see what spoke for it."


def test_photos_that_are_too_large_together_are_sent_apart(browser, trained, tmp_path):
    paths = sorted((trained.parents[1] / "colours").rglob("*.png"))[:8]
    limits = replace(LIMITS, most_bytes=3 * max(path.stat().st_size for path in paths), most_pictures=8)
    made = Server({"it": trained / "model.keras"}, limits=limits)
    with listening(made.app) as (_, address):
        shown = browser.new_page()
        shown.goto(address)
        shown.set_input_files("#files", paths)
        shown.get_by_text("8 pictures answered").wait_for()
        shown.close()
    made.models.close()


def test_without_a_pointer(page):
    """Tab reaches all that can be used, in the order in which it is seen, and the focus can be seen."""
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        shown = "(one) => getComputedStyle(one.closest('.button') ?? one).outlineStyle !== 'none'"
        assert page.evaluate(f"({shown})(document.activeElement)"), reached[-1]
    wanted = [
        "model",
        "files",
        "folder",
        "camera",
        "class",
        "least",
        "most",
        "sort",
        "predictions",
        "corrections",
        "card",
    ]
    assert [one for one in reached if one in wanted][: len(wanted)] == wanted


def test_a_picture_can_be_pasted(page):
    page.evaluate(
        """async () => {
            const blob = await (await fetch(document.querySelector('.card img').src)).blob();
            const data = new DataTransfer();
            data.items.add(new File([blob], 'pasted.png', { type: 'image/png' }));
            dispatchEvent(new ClipboardEvent('paste', { clipboardData: data }));
        }"""
    )
    page.get_by_text("1 picture answered").wait_for()
    assert page.locator(".card").count() == 7


def test_a_telephone_offers_its_camera(page):
    assert page.locator("#camera").get_attribute("capture") == "environment"
    for name in ("Choose pictures", "Choose a folder", "Take a photo"):
        assert page.get_by_label(name).count() == 1


def test_can_be_used_by_everyone(page):
    if not AXE.is_file():
        pytest.skip(f"needs {AXE}: npm install axe-core")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    assert [fault["id"] for fault in page.evaluate("axe.run()")["violations"]] == []
    page.locator(".card").nth(0).click()
    assert [fault["id"] for fault in page.evaluate("axe.run()")["violations"]] == []
