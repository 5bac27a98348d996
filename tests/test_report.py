"""The report: complete, escaped, self-contained, and honest about what is missing."""

import base64
import io
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from firstlight.errors import InputError
from firstlight.report import curves, figures, write
from firstlight.report.read import read
from firstlight.result import sheet

HOSTILE = "<script>alert('1')</script>\"&'"


def log(folder, task, steps, *, total=None, batch=32, loss=lambda s: 2 / s, seconds=lambda s: s * 0.1, **values):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "events.jsonl", "a", encoding="utf-8") as file:
        for s in steps:
            event = {"event": "step", "task": task, "step": s, "total": total or max(steps), "images": s * batch}
            told = {"loss": loss(s), "lr": 1e-3, **values}
            file.write(json.dumps({**event, "seconds": seconds(s), "values": told}) + "\n")


def result(folder, name, **content):
    (folder / "results").mkdir(parents=True, exist_ok=True)
    record = {"name": name, "title": name, **content}
    (folder / "results" / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")


def matrix(labels):
    values = np.eye(len(labels), dtype=int) * 9
    values[0, -1] += 3
    return {"kind": "matrix", "title": "Confusion", "labels": labels, "values": values.tolist()}


def example(folder, labels=("cat", HOSTILE, "ネコ" * 30, "a very long class name that nobody would print " * 3)):
    """A finished comparison with every kind of figure."""
    rng = np.random.default_rng(0)
    log(
        folder / "pretrain-fractal",
        "pretrain classify",
        range(1, 901),
        loss=lambda s: 4 * np.exp(-s / 300) + rng.random(),
    )
    for draw in range(3):
        log(folder / f"scratch-draw{draw}", f"scratch, draw {draw + 1}", range(1, 201), loss=lambda s: 3 / s + 0.3)
        log(
            folder / f"fractal-draw{draw}",
            f"fractal, draw {draw + 1}",
            range(1, 201),
            loss=lambda s, end=draw / 10: 2 / s + end,
        )
        result(folder / f"svm-draw{draw}", "svm", numbers={"accuracy": 0.9 + draw / 100, "seconds": 1.5})
    noise = [rng.integers(0, 255, (64, 64), dtype=np.uint8) for _ in range(48)]
    result(folder / "pretrain-fractal", "pictures", title="What it was trained on", figures=[sheet(noise, 8)])
    rows = [
        {"name": name, "mean": mean, "low": mean - 0.02, "high": mean + 0.02, "points": [mean - 0.01, mean + 0.01]}
        for name, mean in (("svm", 0.91), ("scratch", 0.94), ("fractal", 0.96))
    ]
    table = {
        "title": "Test accuracy",
        "columns": ["contender", "accuracy", "95 % interval"],
        "rows": [[row["name"], f"{row['mean']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}"] for row in rows],
    }
    mistakes = sheet(
        noise[:12], 6, [f"{labels[i % len(labels)]} → {labels[0]}, 0.99" for i in range(12)], title="Mistakes"
    )
    result(
        folder,
        "compare",
        text=f"fractal wins, not {HOSTILE}.",
        numbers={"fractal": 0.96},
        tables=[table],
        figures=[
            {"kind": "intervals", "title": "Accuracy", "x": "accuracy", "rows": rows},
            matrix(list(labels)),
            mistakes,
        ],
    )
    recipe = {
        "recipe": "compare",
        "settings": {"data": HOSTILE, "size": None, "batch": 32},
        "derived": {"size": 32, "batch": 32, "optimisation": {"lr": 0.001}},
        "versions": {"torch": "2.15.0"},
        "machine": {"device": "cpu"},
        "started": "2026-11-21T03:21:30+0000",
    }
    (folder / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
    (folder / "events.jsonl").write_text(json.dumps({"event": "warned", "text": f"skipped {HOSTILE}.png"}) + "\n")
    return folder


class Seen(HTMLParser):
    """What a browser would find: the tags, their attributes, and the text inside each."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.inside = [], {}, []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "wbr", "link", "img", "br"):
            self.inside.append(tag)

    def handle_endtag(self, tag):
        assert self.inside.pop() == tag, f"unbalanced </{tag}>"

    def handle_data(self, data):
        if data.strip():
            self.text.setdefault(self.inside[-1], []).append(data.strip())


def svgs(markup):
    """Every outermost SVG of a figure, parsed as XML (which also proves that it is well formed)."""
    root = ElementTree.fromstring(f"<div>{markup}</div>")
    return [element for element in root.iter("svg") if element.get("role") == "img"]


def test_page_is_complete(tmp_path):
    path = write(example(tmp_path / "run"))
    assert path == tmp_path / "run" / "report.html"
    page = path.read_text(encoding="utf-8")
    seen = Seen(page)
    assert seen.inside == []
    assert seen.text["h1"] == [f"fractal wins, not {HOSTILE}."]
    headings = [
        "How it learned",
        "What it was trained on (pretrain-fractal)",
        "Where it was wrong",
        "Every measurement",
    ]
    assert seen.text["h2"] == [*headings, "Recipe", "Timings", "Versions", "Machine"]
    assert "0.940 to 0.980" in seen.text["td"]
    assert page.index("0.940 to 0.980") < page.index('figure class="intervals"') < page.index("How it learned")
    assert "21 November 2026, 03:21 UTC" in page
    assert "This page is incomplete" not in page
    assert len(page) < 1_000_000


def test_page_is_self_contained_and_escaped(tmp_path):
    page = write(example(tmp_path / "run")).read_text(encoding="utf-8")
    seen = Seen(page)
    assert not [tag for tag, _ in seen.tags if tag in ("script", "iframe", "object", "embed")]
    for tag, attributes in seen.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href"):
                assert value.startswith("data:"), (tag, value)
    assert "http:" not in page
    assert "https:" not in page
    assert "url(" not in page
    assert "@import" not in page
    assert HOSTILE in seen.text["title"]  # a class name whole in the label's own title
    assert any(HOSTILE in text for text in seen.text["li"])  # the warning
    assert HOSTILE in seen.text["dd"]  # the setting


def test_derived_settings_are_marked(tmp_path):
    page = write(example(tmp_path / "run")).read_text(encoding="utf-8")
    assert '<dt>size</dt><dd dir="auto">32<span class="derived">derived</span>' in page
    assert '<dt>optimisation.<wbr>lr</dt><dd dir="auto">0.001<span class="derived">derived</span>' in page
    assert '<dt>batch</dt><dd dir="auto">32</dd>' in page  # given, though it is written down again


def test_stopped_early(tmp_path):
    run = example(tmp_path / "run")
    (run / "results" / "compare.json").unlink()
    (run / "results").rmdir()
    log_file = run / "fractal-draw2" / "events.jsonl"
    kept = log_file.read_text().splitlines(keepends=True)[:50]
    log_file.write_text("".join(kept) + '{"event": "step", "task": "fractal, dr')
    seen = Seen(write(run).read_text(encoding="utf-8"))
    lines = " ".join(seen.text["li"])
    assert "No verdict" in lines
    assert "The last line of fractal-draw2/events.jsonl was cut off." in lines
    assert "fractal, draw 3 stopped at step 50 of 200." in lines
    assert "How it learned" in seen.text["h2"]
    assert "50 of 200" in seen.text["td"]
    names = [line["name"] for line in curves.figures_of(read(run).curves)[0][0]["series"]]
    assert names == ["fractal", "fractal, draw 3", "scratch"]  # the mean is of whole draws only


def test_only_a_log(tmp_path):
    log(tmp_path, "pretrain mae", range(1, 11), total=40)
    seen = Seen(write(tmp_path).read_text(encoding="utf-8"))
    assert seen.text["h1"] == ["pretrain mae trained for 10 of 40 steps on 320 images; the last loss was 0.2."]
    assert any("No recipe" in line for line in seen.text["li"])


def test_several_measurements_are_told_alike(tmp_path):
    result(tmp_path, "knn", title="k-NN", text="Words.", numbers={"accuracy": 0.5})
    result(tmp_path, "linear", title="Linear probe", numbers={"accuracy": 0.625})
    seen = Seen(write(tmp_path).read_text(encoding="utf-8"))
    assert seen.text["h1"] == ["Measured in 2 ways: k-NN 50.0\u00a0%, Linear probe 62.5\u00a0%."]
    assert seen.text["h2"] == ["k-NN", "Linear probe"]
    (tmp_path / "results" / "linear.json").unlink()
    assert Seen(write(tmp_path).read_text(encoding="utf-8")).text["h1"] == ["Words."]


def test_a_verdict_s_first_sentence_is_the_headline_and_the_rest_a_paragraph(tmp_path):
    text = "No clear winner: scratch (95.1 %) and svm (95.0 %) tie. scratch leads svm by 0.1 points. Measured once."
    (tmp_path / "recipe.json").write_text("{}", encoding="utf-8")
    result(tmp_path, "compare", text=text)
    page = write(tmp_path).read_text(encoding="utf-8")
    first = "No clear winner: scratch (95.1 %) and svm (95.0 %) tie."
    assert Seen(page).text["h1"] == [first.replace(" %", "\u00a0%")], "no line ends between a number and its sign"
    assert f'<p class="explained" dir="auto">{text.removeprefix(first).strip()}</p>' in page


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "\x00\xff", '"text"', "[" * 100_000])
def test_unreadable_result_is_named_and_the_rest_shown(tmp_path, content):
    run = example(tmp_path / "run")
    (run / "results" / "knn.json").write_bytes(content.encode("latin-1"))
    seen = Seen(write(run).read_text(encoding="utf-8"))
    assert any(line.startswith("results/knn.json cannot be read") for line in seen.text["li"])
    assert "0.940 to 0.980" in seen.text["td"]


@pytest.mark.parametrize(
    "figure",
    [
        {},
        {"kind": "lines"},
        {"kind": "lines", "series": [3]},
        {"kind": "pie"},
        {"kind": "matrix", "labels": ["a"], "values": [[1, 2]]},
        {"kind": "matrix", "labels": 3, "values": None},
        {"kind": "intervals", "rows": [{"name": 1}, "x"]},
        {"kind": "pictures", "pictures": [{"png": '"><script>'}]},
        {"kind": "pictures", "pictures": [{"png": "AAAA"}]},
        {"kind": "pictures", "pictures": [{}]},
    ],
)
def test_figure_of_another_shape_is_named_and_the_rest_shown(tmp_path, figure):
    run = example(tmp_path / "run")
    result(run, "knn", numbers={"accuracy": 0.5}, figures=[figure], tables=[{"rows": [[None, True], [1]]}, 3])
    seen = Seen(write(run).read_text(encoding="utf-8"))
    assert any(line.startswith("A figure of knn cannot be drawn") for line in seen.text["li"])
    assert "50.0 %" in seen.text["dd"]


def test_not_a_run_folder(tmp_path):
    with pytest.raises(InputError, match=r"not a run folder: it has none of recipe\.json"):
        write(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        write(tmp_path / "missing")
    assert not (tmp_path / "report.html").exists()


def test_names_that_are_not_text(tmp_path):
    log(tmp_path, "train", range(1, 4))
    result(tmp_path, "knn", text="\udcff broken name, ‮ turned", figures=[matrix(["\udcff", "\x00\x07", ""])])
    assert "broken name" in write(tmp_path).read_text(encoding="utf-8")


def test_resumed_log_counts_each_step_once(tmp_path):
    log(tmp_path, "train", range(1, 101))
    log(tmp_path, "train", range(81, 151), loss=lambda s: 7.0, seconds=lambda s: (s - 80) * 0.2)
    (curve,) = read(tmp_path).curves
    assert curve.steps.tolist() == list(range(1, 151))
    assert curve.values["loss"][79] == 2 / 80
    assert curve.values["loss"][80] == 7.0
    assert curve.seconds == pytest.approx(10.0 + 14.0)


def test_parts_are_not_drawn_twice(tmp_path):
    log(tmp_path / "fractal-draw0", "fractal, draw 1", range(1, 30))
    log(tmp_path, "fractal, draw 1", range(1, 30))
    log(tmp_path, "another", range(1, 20))
    assert [curve.name for curve in read(tmp_path).curves] == ["fractal, draw 1", "another"]


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("fractal-seed0", "fractal"),
        ("fractal_seed12", "fractal"),
        ("simclr(temperature=0.2), draw 3", "simclr(temperature=0.2)"),
        ("draw0/scratch", "scratch"),
        ("pretrain", "pretrain"),
        ("seed1", "seed1"),
        ("linseed2oil", "linseed2oil"),
    ],
)
def test_families(tmp_path, name, family):
    log(tmp_path, name, range(1, 3))
    assert read(tmp_path).curves[0].family == family


def test_steps_and_images_share_a_figure_where_they_are_proportional(tmp_path):
    log(tmp_path / "a-draw0", "train", range(1, 50), batch=32)
    log(tmp_path / "b-draw0", "train", range(1, 50), batch=32)
    (one,) = curves.figures_of(read(tmp_path).curves)[0]
    assert (one["x"], one["above"]) == ("step", {"title": "images seen", "factor": 32.0})
    log(tmp_path / "c-draw0", "train", range(1, 50), batch=64)
    by_step, by_images = curves.figures_of(read(tmp_path).curves)[0]
    assert [by_step["x"], by_images["x"]] == ["step", "images seen"]
    assert [line["x"][-1] for line in by_step["series"]] == [49, 49, 49]
    assert [line["x"][-1] for line in by_images["series"]] == [49 * 32, 49 * 32, 49 * 64]


def test_draws_are_averaged_with_a_band(tmp_path):
    for draw, level in enumerate((1.0, 2.0, 6.0)):
        log(tmp_path / f"a-draw{draw}", "train", range(1, 11), loss=lambda s, level=level: level)
    (figure,) = curves.figures_of(read(tmp_path).curves)[0]
    (line,) = figure["series"]
    assert (line["y"], line["low"], line["high"]) == ([3.0] * 10, [1.0] * 10, [6.0] * 10)
    assert figure["note"] == "Line: mean of 3 draws. Band: lowest to highest draw."


def test_loss_that_is_not_finite_is_said(tmp_path):
    log(tmp_path, "train", range(1, 101), loss=lambda s: float("nan") if s > 90 else 1.0)
    (figure,) = curves.figures_of(read(tmp_path).curves)[0]
    assert "At 10 steps the loss was not a finite number." in figure["note"]
    assert figure["series"][0]["x"][-1] == 90
    assert "not a finite number" in write(tmp_path).read_text(encoding="utf-8")


def test_moving_average():
    y = np.random.default_rng(0).random(100)
    smooth = curves.moving_average(y, 9)
    np.testing.assert_allclose(smooth[4:-4], np.convolve(y, np.ones(9) / 9, "valid"))
    assert smooth[0] == pytest.approx(y[0])
    assert smooth[1] == pytest.approx(y[:3].mean())
    assert smooth[-1] == pytest.approx(y[-5:].mean())  # not the noise of the last step
    line = np.arange(50) * 0.5
    np.testing.assert_allclose(curves.moving_average(line, 11)[:-5], line[:-5])  # symmetric from the beginning on


def test_long_curves_are_thinned_but_keep_their_spikes(tmp_path):
    log(tmp_path, "train", range(1, 5001), loss=lambda s: 50.0 if s == 3333 else 1.0)
    (figure,) = curves.figures_of(read(tmp_path).curves)[0]
    (line,) = figure["series"]
    assert len(line["x"]) <= curves.POINTS
    assert (line["x"][0], line["x"][-1]) == (1, 5000)
    assert len(line["raw"]["x"]) <= curves.POINTS
    assert 3333 in line["raw"]["x"]
    assert "moving average over 201 steps" in figure["note"]


def test_intervals_stand_where_their_values_are():
    rows = [{"name": "a", "mean": 0.5, "low": 0.4, "high": 0.6, "points": [0.45, 0.55]}]
    rows.append({"name": "b", "mean": 1.0, "low": 0.9, "high": 1.0, "points": []})
    (svg,) = svgs(figures.draw({"kind": "intervals", "title": "T", "x": "accuracy", "rows": rows}))
    ticks = [(t.text, float(t.get("x")[:-1])) for t in svg.iter("text") if t.get("class") == "tick middle"]
    assert ticks[0] == ("40 %", 0.0)
    assert ticks[-1] == ("100 %", 100.0)
    assert [float(c.get("cx")[:-1]) for c in svg.iter("circle")] == pytest.approx([100 / 12, 25.0], abs=0.01)
    assert [float(m.get("x")[:-1]) for m in svg.iter("svg") if m.get("overflow")] == pytest.approx(
        [16.67, 100], abs=0.01
    )
    assert svg.find("title").text == "T. a: 50.0 % (40.0 to 60.0). b: 100.0 % (90.0 to 100.0)."


def test_lines_leave_out_what_is_undefined():
    series = [{"name": "a", "x": [0, 1, 2, 3], "y": [0.0, float("nan"), None, 1.0]}, {"name": "b", "x": [], "y": []}]
    (svg,) = svgs(figures.draw({"kind": "lines", "title": "T", "x": "x", "y": "y", "series": series}))
    (line,) = [p for p in svg.iter("path") if p.get("class").startswith("line")]
    assert line.get("d") == "M0 1000L1000 0"
    assert "Nothing was recorded" in figures.draw({"kind": "lines", "title": "", "series": []})


def test_names_keep_their_colour_from_figure_to_figure():
    hues = {}
    rows = [{"name": name, "mean": 1, "low": 0, "high": 2} for name in ("svm", "scratch")]
    figures.draw({"kind": "intervals", "rows": rows}, hues)
    drawn = figures.draw({"kind": "lines", "series": [{"name": "scratch", "x": [0, 1], "y": [1, 2]}]}, hues)
    assert hues == {"svm": 0, "scratch": 1}
    assert 'class="line s1 d1"' in drawn


def test_every_name_has_a_look_of_its_own():
    series = [{"name": f"contender {i}", "x": [0, 1], "y": [i, i]} for i in range(20)]
    drawn = figures.draw({"kind": "lines", "title": "T", "series": series})
    looks = [p.get("class") for p in svgs(drawn)[0].iter("path") if p.get("class").startswith("line")]
    assert len(set(looks)) == 20


@pytest.mark.parametrize("count", [2, 12, 20, 21, 40, 60, 100])
def test_matrix_of_any_size(count):
    labels = [f"class number {i} of a long list <b>" for i in range(count)]
    values = np.random.default_rng(0).integers(1, 9, (count, count))
    drawn = figures.draw({"kind": "matrix", "title": "T", "labels": labels, "values": values.tolist()})
    (svg,) = svgs(drawn)
    counts = [t.text for t in svg.iter("text") if "count" in t.get("class")]
    assert counts == ([str(v) for v in values.ravel()] if count <= 20 else [])
    assert len(drawn) < 250_000
    assert f"{count} classes, {np.trace(values) / values.sum():.1%} on the diagonal" in svg.find("title").text
    assert ("in the order of the rows" in drawn) == (count > 40)


def test_matrix_says_what_is_confused_most():
    drawn = figures.draw(
        {"kind": "matrix", "title": "T", "labels": ["a", "b", "c"], "values": [[5, 0, 0], [4, 1, 0], [0, 1, 0]]}
    )
    assert "Most often taken for another: <b><bdi>b</bdi></b> for <b><bdi>a</bdi></b> (4 of 5); " in drawn


def test_sheet_holds_the_pictures():
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (16, 20), dtype=np.uint8), rng.integers(0, 256, (300, 200, 3), dtype=np.uint8)]
    figure = sheet(pictures, 2, ["grey", "colour"], title="T")
    grey, colour = (Image.open(io.BytesIO(base64.b64decode(p["png"]))) for p in figure["pictures"])
    np.testing.assert_array_equal(np.asarray(grey), pictures[0])
    assert (colour.size, colour.mode) == ((64, 96), "RGB")
    assert figure["columns"] == 2
    assert json.loads(json.dumps(figure)) == figure
    with pytest.raises(ValueError, match="2 pictures but 1 captions"):
        sheet(pictures, 2, ["one"])


def test_importing_the_report_does_not_import_torch():
    code = "import sys, firstlight.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
