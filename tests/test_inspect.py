"""Looking inside a pre-training: the pictures are right, the run is found again, and mistakes are told."""

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

import firstlight
import tiny
from firstlight import cli, spec
from firstlight.encoder import Encoder
from firstlight.errors import InputError
from firstlight.inspections.reconstruction import Reconstruction, pixels, reconstructs
from firstlight.methods import Method
from firstlight.report.montage import groups_of, montage
from firstlight.result import sheet

ABLE = [name for name in spec.names("methods") if reconstructs(spec.find("methods", name, Method))]
VIT = "vit_tiny_patch16_224(patch_size=8, embed_dim=16, depth=1, num_heads=1)"


def opened(figure):
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(p["png"]))).convert("RGB")) for p in figure["pictures"]]


def test_all_methods_that_predict_pictures_are_here():
    masked = {"mae", "simmim", "masked_patch", "beit", "sit", "cmae", "multimae", "igpt"}
    painted = {"inpaint", "colorize", "split_brain", "autoencoder", "dvae", "jigsaw", "rotation", "context"}
    assert masked | painted <= set(ABLE)
    assert "simclr" not in ABLE


@pytest.mark.parametrize("name", ABLE)
def test_a_row_for_each_picture_and_nothing_changed(name):
    method = tiny.build(name).train()
    before = {key: value.clone() for key, value in method.state_dict().items()}
    batch = tiny.batch(method, samples=3)
    result = Reconstruction().run(method, batch)

    figure = result.figures[0]
    assert len(figure["pictures"]) == 3 * len(figure["heads"]) == 3 * figure["columns"]
    shown = opened(figure)
    assert {picture.shape[:2] for picture in shown} == {shown[0].shape[:2]}
    assert all(np.ptp(picture) > 0 for picture in shown[:: figure["columns"]]), "the pictures themselves are not blank"
    assert method.training
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_undo_the_normalisation(channels):
    encoder = Encoder("test_resnet", size=32, channels=channels)
    encoder.mean, encoder.std = ((0.4, 0.5, 0.6), (0.2, 0.3, 0.1)) if channels == 3 else (0.4, 0.2)
    exact = np.random.default_rng(0).integers(0, 256, (2, channels, 8, 8), dtype=np.uint8)
    mean, std = (torch.as_tensor(value).view(-1, 1, 1) for value in (encoder.mean, encoder.std))
    normalised = (torch.from_numpy(exact) / 255 - mean) / std
    found = pixels(normalised, encoder)
    expected = [picture[0] if channels == 1 else picture.transpose(1, 2, 0) for picture in exact]
    assert all(np.array_equal(a, b) for a, b in zip(found, expected))
    assert pixels(torch.full((1, channels, 2, 2), 99.0), encoder)[0].max() == 255


def test_the_first_column_is_the_picture_that_the_method_was_given():
    method = tiny.build("mae")
    batch = tiny.batch(method, samples=2)
    figure = Reconstruction().run(method, batch).figures[0]
    given = pixels(batch.views[0], method.encoder)
    assert figure["heads"][0] == "picture"
    assert all(np.array_equal(a, b) for a, b in zip(opened(figure)[:: figure["columns"]], given))


def test_a_method_without_pictures_is_refused_with_those_that_have_some():
    method = tiny.build("simclr")
    with pytest.raises(InputError, match=r"simclr predicts no pictures; those that do: autoencoder, .*mae"):
        Reconstruction().run(method, tiny.batch(method))


@pytest.mark.parametrize(("rows", "columns", "groups"), [(8, 3, 2), (8, 2, 4), (8, 4, 2), (8, 7, 1), (1, 3, 1)])
def test_rows_stand_in_groups_about_as_wide_as_high(rows, columns, groups):
    assert groups_of(rows, columns) == groups


def test_a_montage_has_every_picture_enlarged_in_its_place():
    random = np.random.default_rng(1)
    pictures = [random.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(6)]
    page = np.asarray(montage(sheet(pictures, 2, heads=["before", "after"])))
    large = [picture.repeat(3, 0).repeat(3, 1) for picture in pictures]
    places = []
    for picture in large:
        found = [
            (top, left)
            for top in range(page.shape[0] - 95)
            for left in range(page.shape[1] - 95)
            if np.array_equal(page[top, left : left + 96], picture[0])
        ]
        assert len(found) == 3, "the first row of pixels, three times as high"
        top, left = found[0]
        assert np.array_equal(page[top : top + 96, left : left + 96], picture)
        places.append((top, left))
    assert places[0][0] == places[1][0]
    assert places[0][1] < places[1][1]


def test_heads_must_be_as_many_as_columns():
    with pytest.raises(ValueError, match="2 columns but 1 heads"):
        sheet([np.zeros((4, 4), np.uint8)] * 2, 2, heads=["one"])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(9):
        Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(root / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("mae") / "run"
    arguments = ["pretrain", "--data", str(photos), "--method", "mae", "--model", VIT, "--size", "32"]
    arguments += ["--steps", "2", "--batch", "4", "--device", "cpu", "--precision", "fp32", "--out", str(out)]
    assert cli.run(arguments) == 0
    return out


def test_a_training_leaves_them_in_its_report(trained):
    result = json.loads((trained / "results" / "reconstruction.json").read_text())
    assert len(result["figures"][0]["pictures"]) == 8 * 3
    page = (trained / "report.html").read_text(encoding="utf-8")
    assert page.count(">masked</li>") == 2, "one head in each of two groups"


def test_the_newest_checkpoint_is_looked_at(trained, tmp_path):
    path = firstlight.inspect("reconstruction", trained, pictures=4, device="cpu", out=tmp_path / "look")
    assert path == tmp_path / "look" / "results" / "reconstruction.png"
    with Image.open(path) as drawn:
        assert drawn.width > 96 * 3
    result = json.loads((tmp_path / "look" / "results" / "reconstruction.json").read_text())
    assert result["settings"]["step"] == 2
    assert "after step 2 of 2" in result["text"]
    assert "after step 2 of 2" in (tmp_path / "look" / "report.html").read_text(encoding="utf-8")


def test_what_is_shown_is_what_the_trained_method_says(trained, tmp_path):
    """Drawn from the checkpoint and at the end of the training, the same pictures look the same."""
    kept = json.loads((trained / "results" / "reconstruction.json").read_text())["figures"]
    firstlight.inspect("reconstruction", trained, device="cpu", out=tmp_path / "again")
    again = json.loads((tmp_path / "again" / "results" / "reconstruction.json").read_text())["figures"]
    assert again == kept
    firstlight.inspect("reconstruction", trained, device="cpu", seed=1, out=tmp_path / "other")
    other = json.loads((tmp_path / "other" / "results" / "reconstruction.json").read_text())["figures"]
    assert other != kept


def test_other_pictures_can_be_looked_at(trained, photos, tmp_path):
    (tmp_path / "new").mkdir()
    Image.new("RGB", (32, 32), (255, 0, 0)).save(tmp_path / "new" / "red.png")
    arguments = ["inspect", "reconstruction", str(trained), "--data", str(tmp_path / "new"), "--device", "cpu"]
    assert cli.run([*arguments, "--out", str(tmp_path / "look")]) == 0
    figure = json.loads((tmp_path / "look" / "results" / "reconstruction.json").read_text())["figures"][0]
    assert len(figure["pictures"]) == 3
    assert (opened(figure)[0] == [255, 0, 0]).all()
    page = (tmp_path / "look" / "report.html").read_text(encoding="utf-8")
    assert "What it makes of pictures." in page
    assert "This page is incomplete" not in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reconstuction", "{run}"], "did you mean 'reconstruction'"),
        (["reconstruction", "{empty}"], "is not a run folder: it has no recipe.json"),
        (["reconstruction", "{run}", "--pictures", "0"], "pictures must be above 0, got 0"),
        (["reconstruction", "{run}", "--data", "nowhere"], "no data at 'nowhere'"),
        (["reconstruction", "{run}", "--out", "{run}"], "is not empty"),
    ],
)
def test_mistakes_are_told(arguments, said, trained, tmp_path, capsys):
    given = [argument.format(run=trained, empty=tmp_path) for argument in arguments]
    assert cli.run(["inspect", *given]) == 2
    assert said in capsys.readouterr().err


def test_a_run_of_another_kind_and_one_without_checkpoints_are_refused(trained, tmp_path, capsys):
    recipe = json.loads((trained / "recipe.json").read_text())
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    assert cli.run(["inspect", "reconstruction", str(tmp_path), "--device", "cpu"]) == 2
    assert "has no checkpoint" in capsys.readouterr().err
    (tmp_path / "recipe.json").write_text(json.dumps({"recipe": "report", "settings": {"folder": "x"}}))
    assert cli.run(["inspect", "reconstruction", str(tmp_path)]) == 2
    assert "is a run of 'report'; expected one of 'pretrain'" in capsys.readouterr().err
