"""The report in a real browser: at the width of a phone and of a desk, in light and in dark."""

import shutil

import pytest

from firstlight.report import write
from test_report import HOSTILE, example

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH")

# Every text with its colour and the first opaque background behind it, as the browser computes them.
COLOURS = """() => [...document.querySelectorAll('h1,h2,p,td,th,dt,dd,li,summary,figcaption b,svg text')]
  .filter(e => e.checkVisibility() && e.textContent.trim() && !e.closest('.matrix'))
  .map(e => {
    let behind = e;
    while (getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;
    const style = getComputedStyle(e);
    return [e.textContent.trim().slice(0, 40), e instanceof SVGElement ? style.fill : style.color,
            getComputedStyle(behind).backgroundColor];
  })"""
# What sticks out of the window without standing in a box that scrolls.
OUTSIDE = """() => [...document.querySelectorAll('body *')]
  .filter(e => e.checkVisibility() && !e.closest('.scroll > *') && e.tagName !== 'title')
  .filter(e => e.getBoundingClientRect().width)
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1 || e.getBoundingClientRect().left < -1)
  .map(e => e.tagName + ' ' + e.getAttribute('class') + ' ' + e.textContent.trim().slice(0, 40))"""
# Names and values that stand on one another within a figure.
OVERLAPS = """() => { const shared = (p, q, from, to) => Math.min(p[to], q[to]) - Math.max(p[from], q[from]);
return [...document.querySelectorAll('.plot > svg')].flatMap(svg => {
  const boxes = [...svg.querySelectorAll('text')].map(e => [e.textContent, e.getBoundingClientRect()]);
  return boxes.flatMap(([a, p], i) => boxes.slice(i + 1).filter(([b, q]) =>
    shared(p, q, 'left', 'right') > 1 && shared(p, q, 'top', 'bottom') > 4
  ).map(([b]) => a.slice(0, 30) + ' | ' + b.slice(0, 30)));
})}"""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def page_path(tmp_path_factory):
    return write(example(tmp_path_factory.mktemp("run")))


def contrast(first, second):
    """The WCAG contrast of two ``rgb(r, g, b)`` colours, 1 to 21."""

    def luminance(colour):
        parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear))

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1200])
def test_page_in_a_browser(browser, page_path, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_path.as_uri())
    for details in page.locator("details").all():
        details.evaluate("e => { e.open = true }")

    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [page_path.as_uri()]
    assert page.locator("h1").inner_text() == f"fractal wins, not {HOSTILE}."
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(OVERLAPS) == []
    assert page.locator("h1").bounding_box()["y"] < page.locator("table").first.bounding_box()["y"] < 800
    faint = [row for row in page.evaluate(COLOURS) if contrast(row[1], row[2]) < 4.5]
    assert faint == []
    page.close()


def test_dark_is_dark_and_pictures_are_there(browser, page_path):
    page = browser.new_page(color_scheme="dark")
    page.goto(page_path.as_uri())
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="light")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert contrast(dark, light) > 15
    widths = page.evaluate("[...document.images].map(image => image.complete && image.naturalWidth)")
    assert widths == [64] * (48 + 12)
    page.close()
