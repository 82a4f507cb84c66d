"""The page of `qcodec report` in a browser: what a person sees, reaches by keyboard, and what a hostile file can do."""

import array
import base64
import hashlib
import json
import random
import re
import xml.etree.ElementTree

import pytest

import tensorfile
from browser import Browser

HOSTILE = [
    "<script>document.title = 'taken'</script>", "'><img src=x onerror=\"document.title='taken'\">",
    "x\" onmouseover=\"document.title='taken'", "</title></style></script></svg><b>", "a&amp;b&#60;", "]]>--><!--",
    "\u202egnp\u2066", "\x00\x1b[31m\n", "z" + "\u0300" * 3000, "漢字" + "漢" * 500, "W" * 300, "javascript:alert(1)",
    "\u200b\ufeff"]


def values(count, seed):
    """Moments of many magnitudes: bytes of the first, bytes of the second."""
    numbers = random.Random(seed)
    first = array.array("f", (numbers.gauss(0, 1e-3) * 10 ** numbers.uniform(-3, 0) for _ in range(count)))
    second = array.array("f", (numbers.random() ** 4 * 1e-6 + 1e-12 for _ in range(count)))
    return first.tobytes(), second.tobytes()


def write_hostile(path):
    tensors = {}
    for seed, name in enumerate(HOSTILE):
        for kind, data in zip(("exp_avg", "exp_avg_sq"), values(4800, seed)):
            tensors[f"{name}/{kind}"] = tensorfile.Entry("F32", (60, 80), data)
    path.write_bytes(tensorfile.dump(tensors, {name: name for name in HOSTILE}))


def write_many(path):
    """5,000 pairs of moments."""
    first, second = values(4096, 0)
    tensors = {}
    for index in range(5000):
        start, count = 4 * (index % 3000), 64 + 16 * (index % 5)
        name = f"model.layers.{index // 7}.mlp.w{index % 7}.weight"
        for kind, data in (("exp_avg", first), ("exp_avg_sq", second)):
            tensors[f"{name}/{kind}"] = tensorfile.Entry("F32", (count,), data[start:start + 4 * count])
    path.write_bytes(tensorfile.dump(tensors))


EVERY_TENSOR = {"name": "every tensor", "rules": [
    {"match": {"role": "first_moment"}, "action": "quantize", "scheme": {"map": "cubic", "bits": 8, "domain": "update"}},
    {"match": {"role": "second_moment"}, "action": "quantize", "scheme": {"map": "log", "bits": 8}}]}


@pytest.fixture(scope="module")
def pages(qcodec, root, tmp_path_factory):
    """Reports by name, made once."""
    folder = tmp_path_factory.mktemp("report")
    real = root / "Fixtures" / "real" / "gpt-char.safetensors"
    made = {}

    def report(name, source, policy, *options, against=None, status=0):
        file, page = folder / f"{name}.qckpt", folder / f"{name}.html"
        qcodec("encode", source, "-o", file, "--policy", policy, "--measure-update")
        against = ["--against", against] if against else []
        qcodec("report", file, "-o", page, *against, *options, status=status)
        made[name] = page

    for policy in ("adam8", "adam4", "paper4"):
        report(policy, real, policy, against=real)
    report("plain", real, "adam8", "--title", "A title with spaces")
    report("failed", real, "paper8", against=folder / "paper4.qckpt", status=1)
    write_hostile(folder / "hostile.safetensors")
    report("hostile", folder / "hostile.safetensors", "adam8", against=folder / "hostile.safetensors")
    write_many(folder / "many.safetensors")
    (folder / "every.json").write_text(json.dumps(EVERY_TENSOR))
    report("many", folder / "many.safetensors", folder / "every.json", against=folder / "many.safetensors")
    return made


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


# Boxes of the texts of every chart that is shown: those that overlap, and those that leave their chart.
MISPLACED = """
(() => {
  const wrong = [];
  for (const chart of document.querySelectorAll("svg.chart")) {
    const frame = chart.getBoundingClientRect();
    if (!frame.width) continue;
    const texts = [...chart.querySelectorAll("text")].map((text) => [text.textContent, text.getBoundingClientRect()]);
    texts.forEach(([one, a], place) => {
      if (a.left < frame.left - 1 || a.right > frame.right + 1 || a.top < frame.top - 1 || a.bottom > frame.bottom + 1)
        wrong.push("outside: " + one);
      for (const [other, b] of texts.slice(place + 1))
        if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
            && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2)
          wrong.push(one + " over " + other);
    });
  }
  return wrong;
})()
"""

# Elements that reach beyond the window, but for those in a region that scrolls.
TOO_WIDE = """
[...document.body.querySelectorAll("*")].filter((element) =>
  !element.closest(".scroll, .skip") && element.getBoundingClientRect().right > innerWidth + 0.5).length
"""

# The least contrast of text with the page's background.
CONTRAST = """
(() => {
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map((part) => part / 255)
      .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = luminance(getComputedStyle(document.body).backgroundColor);
  const ratios = [...document.querySelectorAll("h1, h2, p, dt, dd, li, summary, th, td, .badge, svg.chart text")].map((element) => {
    const style = getComputedStyle(element);
    const ink = luminance(element.tagName === "text" ? style.fill : style.color);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  });
  return Math.min(...ratios);
})()
"""


def complaints(page):
    """What the browser had to say, and what was asked for besides the page itself."""
    said = page.events("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    asked = [event["request"]["url"] for event in page.events("Network.requestWillBeSent")]
    return said + [url for url in asked[1:] if not url.startswith("data:")]


LOOKS = [(width, scheme) for width in (1280, 420) for scheme in ("light", "dark")]


@pytest.mark.parametrize("name, width, scheme", [
    *((name, *look) for name in ("adam8", "hostile") for look in LOOKS),
    *((name, *look) for name in ("adam4", "paper4", "plain", "failed", "many") for look in LOOKS[1:3])])
def test_it_is_laid_out(browser, pages, tmp_path, name, width, scheme):
    page = browser.open(pages[name], width=width, scheme=scheme)
    assert complaints(page) == []
    assert page.evaluate(MISPLACED) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(TOO_WIDE) == 0
    assert page.evaluate(CONTRAST) >= 4.5
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 23, 27)"
    assert dark == (scheme == "dark")
    # One variant of each chart is shown, at a size at which it can be read.
    shown = page.evaluate("[...document.querySelectorAll('svg.chart')].filter((chart) => chart.checkVisibility()).length")
    assert shown == page.evaluate("document.querySelectorAll('figure').length") >= 5
    assert page.evaluate(
        "Math.min(...[...document.querySelectorAll('svg.chart')].filter((chart) => chart.checkVisibility())"
        ".map((chart) => chart.getBoundingClientRect().width / chart.viewBox.baseVal.width))") > 0.95
    page.screenshot(tmp_path / "page.png", (0, 0, width, 1600))
    picture = (tmp_path / "page.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and int.from_bytes(picture[16:20], "big") == width and len(picture) > 50_000
    page.close()


def test_keys_reach_every_mark(browser, pages):
    page = browser.open(pages["adam8"])
    stops = []
    for _ in range(120):
        page.press("Tab", 9)
        stops.append(page.evaluate(
            "(() => { const at = document.activeElement; return [at.tagName, at.getAttribute('class'), "
            "at.closest('svg') ? at.closest('svg').getAttribute('aria-labelledby') : at.textContent.slice(0, 40)]; })()"))
    assert stops[0] == ["A", "skip", "Skip to the figures"]
    # Once around.
    stops = stops[:stops.index(stops[0], 1)]
    charts = page.evaluate(
        "[...document.querySelectorAll('svg.wide')].map((chart) => chart.getAttribute('aria-labelledby'))")
    # One stop a chart, in order.
    assert [stop[2] for stop in stops if stop[1] and "mark" in stop[1]] == charts
    assert [stop[0] for stop in stops].count("SUMMARY") >= len(charts)

    page.evaluate("document.querySelector('svg.wide .mark').focus()")
    marks = page.evaluate("[...document.querySelector('svg.wide').querySelectorAll('.mark')].map((mark) => mark.getAttribute('aria-label'))")
    told = "document.querySelector('figure .readout').textContent"
    at = "document.activeElement.getAttribute('aria-label')"
    for label in marks[1:]:
        page.press("ArrowRight", 39)
        assert page.evaluate(at) == page.evaluate(told) == label
    page.press("ArrowRight", 39)
    assert page.evaluate(at) == marks[-1]
    page.press("Home", 36)
    assert page.evaluate(at) == marks[0]
    page.press("End", 35)
    page.press("ArrowUp", 38)
    assert page.evaluate(at) == marks[-2]
    # The mark that has the focus is seen to have it.
    assert page.evaluate("getComputedStyle(document.activeElement.querySelector('rect')).stroke") == "rgb(28, 30, 34)"
    page.close()


def test_the_table_is_filtered_sorted_and_cut(browser, pages):
    page = browser.open(pages["many"])
    status = "document.querySelector('.controls [role=status]').textContent"
    rows = "[...document.querySelectorAll('table.tensors tbody tr')].filter((row) => !row.hidden)"
    assert page.evaluate(status) == "25 of 200 rows" and page.evaluate(f"{rows}.length") == 25
    page.evaluate("document.querySelector('.controls button').click()")
    assert page.evaluate(status) == "200 of 200 rows" and page.evaluate(f"{rows}.length") == 200
    cell = "(row) => Number(row.cells[5].dataset.value)"
    errors = page.evaluate(f"{rows}.map({cell})")
    assert errors == sorted(errors, reverse=True) and errors[0] > errors[-1] > 0
    for order in (True, False):
        page.evaluate("document.querySelector('table.tensors').tHead.rows[0].cells[5].firstChild.click()")
        assert page.evaluate(f"{rows}.map({cell})") == sorted(errors, reverse=order)
    name = page.evaluate(f"{rows}[7].cells[0].textContent")
    page.evaluate(
        "(() => { const input = document.querySelector('.controls input'); "
        f"input.value = {json.dumps(name)}; input.dispatchEvent(new Event('input')); }})()")
    assert page.evaluate(f"{rows}.map((row) => row.cells[0].textContent)")[0] == name
    page.close()


def test_many_tensors_are_one_small_page(browser, pages):
    assert pages["many"].stat().st_size < 1_500_000
    page = browser.open(pages["many"])
    assert page.evaluate("document.querySelectorAll('*').length") < 15_000
    assert "10,000 tensors" in page.evaluate("document.querySelector('.verdict').textContent")
    page.close()


def test_it_is_read_without_its_script(browser, pages):
    page = browser.open(pages["many"], script=False)
    page.call("DOM.enable")
    document = page.call("DOM.getDocument")["root"]["nodeId"]

    def styles(selector):
        found = page.call("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        assert found, selector
        return {entry["name"]: entry["value"] for entry in page.call(
            "CSS.getComputedStyleForNode", nodeId=found)["computedStyle"]}

    page.call("CSS.enable")
    assert styles(".controls")["display"] == "none" and styles(".readout")["display"] == "none"
    assert styles("table.tensors tbody tr:nth-child(200)")["display"] == "table-row"
    page.close()


def test_a_hostile_file_runs_nothing(browser, pages):
    page = browser.open(pages["hostile"])
    assert page.evaluate("document.title") == "hostile.qckpt · qcodec report"
    assert page.evaluate("document.scripts.length") == 1
    assert page.evaluate("document.querySelectorAll('img, b, iframe, link, object').length") == 0
    handlers = "[...document.querySelectorAll('*')].filter((one) => [...one.attributes].some((a) => a.name.startsWith('on')))"
    assert page.evaluate(f"{handlers}.length") == 0
    for name in HOSTILE[:4]:
        assert page.evaluate(f"document.body.textContent.includes({json.dumps(name + '/exp_avg')})"), name
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\ufeff]", page.evaluate("document.body.textContent"))
    # What got in all the same would neither run nor load.
    page.evaluate(
        "(() => { const bad = document.createElement('script'); bad.textContent = 'document.title = \"taken\"'; "
        "document.body.append(bad); const image = new Image(); image.src = 'https://example.invalid/x.png'; "
        "document.body.append(image); })()")
    assert page.evaluate("document.title") == "hostile.qckpt · qcodec report"
    refused = [entry["entry"]["text"] for entry in page.events("Log.entryAdded")]
    assert sum("Content Security Policy" in text for text in refused) == len(refused) == 2
    page.close()


def test_the_script_is_the_one_that_may_run(pages):
    text = pages["plain"].read_text()
    script, = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#39;{digest}&#39;" in text, f"PageScript.digest is to be {digest}"


@pytest.mark.parametrize("name", ["adam8", "hostile", "many"])
def test_charts_are_svg(pages, name):
    charts = re.findall(r"<svg .*?</svg>", pages[name].read_text(), re.DOTALL)
    assert len(charts) >= 14
    space = "{http://www.w3.org/2000/svg}"
    for chart in charts:
        top = xml.etree.ElementTree.fromstring(chart)
        assert top.tag == space + "svg" and top[0].tag == space + "title" and top[1].tag == space + "desc"
        assert top[0].text and top[1].text
        for mark in top.iter(space + "g"):
            assert mark.get("aria-label") == mark[0].text


def test_it_is_printed(browser, pages):
    page = browser.open(pages["adam8"], scheme="dark")
    data = base64.b64decode(page.call("Page.printToPDF", printBackground=False)["data"])
    assert data.startswith(b"%PDF") and 3 <= len(re.findall(rb"/Type\s*/Page\b", data)) <= 12
    page.call("Emulation.setEmulatedMedia", media="print", features=[])
    assert page.evaluate("document.querySelector('nav').checkVisibility()") is False
    assert page.evaluate("document.querySelector('svg.wide').checkVisibility()") is True
    page.close()
