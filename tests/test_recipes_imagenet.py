"""The published trainings on ImageNet: each fits its network as published, and takes a step on photographs in small."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from firstlight import cli, recipes, spec
from firstlight.encoder import Encoder
from firstlight.errors import InputError
from firstlight.events import Note, drain
from firstlight.methods import Method
from firstlight.recipe.pretrain import Pretrain
from firstlight.runs import read_json

NAMES = [name for name in spec.names("recipes") if name.endswith("_imagenet")]
JOINT = {
    "instance", "pirl", "moco", "moco_v3", "simclr", "byol", "barlow", "swav", "deepcluster", "simsiam", "supcon",
    "moby", "dino", "esvit", "ibot", "dinov2", "teaching_assistant",
}  # fmt: skip
PHOTOGRAPHS = 1_281_167
# The batch, the highest rate, the weight decay and the warm-up in epochs, as the public codes say.
PUBLISHED = {
    "barlow_resnet50": (2048, 1.6, 1e-6, 10, 1000),
    "byol_resnet50": (4096, 3.2, 1.5e-6, 10, 1000),
    "deepcluster_resnet50": (4096, 4.8, 1e-6, 10, 800),
    "dino_resnet50": (512, 0.06, 1e-4, 10, 100),
    "dino_vit_s16": (1024, 2e-3, (0.04, 0.4), 10, 300),
    "dinov2_vit_l16": (2048, 4e-3 * 2**0.5, (0.04, 0.4), 10, 100),
    "esvit_swin_t": (512, 1e-3, (0.04, 0.4), 10, 300),
    "ibot_vit_s16": (1024, 2e-3, (0.04, 0.4), 10, 800),
    "instance_resnet50": (256, 0.03, 1e-4, 0, 200),
    "mae_vit_b16": (4096, 2.4e-3, 0.05, 40, 1600),
    "moby_swin_t": (512, 1e-3, 0.05, 5, 300),
    "moco_v1_resnet50": (256, 0.03, 1e-4, 0, 200),
    "moco_v2_resnet50": (256, 0.03, 1e-4, 0, 200),
    "moco_v3_resnet50": (4096, 4.8, 1.5e-6, 10, 1000),
    "moco_v3_vit_b16": (4096, 2.4e-3, 0.1, 40, 300),
    "moco_v3_vit_s16": (4096, 2.4e-3, 0.1, 40, 300),
    "pirl_resnet50": (1024, 0.12, 1e-4, 0, 800),
    "simclr_v1_resnet50": (4096, 4.8, 1e-6, 10, 1000),
    "simclr_v2_resnet50": (4096, 6.4, 1e-4, 40, 800),
    "simsiam_resnet50": (512, 0.1, 1e-4, 0, 100),
    "supcon_resnet50": (6144, 9.6, 1e-3, 12, 350),
    "swav_resnet50": (4096, 4.8, 1e-6, 10, 800),
}
SMALL = {
    "hidden": 16, "dim": 8, "bottleneck": 8, "prototypes": 4, "queue": 8, "groups": 2, "negatives": 4, "width": 16,
    "depth": 1, "heads": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Two classes of five pictures."""
    folder = tmp_path_factory.mktemp("imagenet") / "train"
    draw = np.random.default_rng(0)
    for label in ("n01440764", "n01443537"):
        (folder / label).mkdir(parents=True)
        for number in range(5):
            Image.fromarray(draw.integers(0, 256, (48, 56, 3), dtype=np.uint8)).save(folder / label / f"{number}.png")
    return folder


def built(recipe: Pretrain, model: str | None = None, **given) -> Method:
    encoder = Encoder(model or recipe.model, size=recipe.size, drop_path=recipe.drop_path)
    return spec.build("methods", recipe.method, Method, encoder, pictures=PHOTOGRAPHS, categories=1000, **given)


def test_every_method_of_joint_embedding_has_its_training_but_the_one_whose_is_not_known():
    used = {spec.Spec.parse(recipes.find(name).method).name for name in NAMES}
    assert used == (JOINT | {"mae"}) - {"teaching_assistant"}
    assert {name.removesuffix("_imagenet") for name in NAMES} == set(PUBLISHED)


@pytest.mark.parametrize("name", NAMES)
def test_each_fits_its_network_as_published(name):
    recipe = recipes.find(name)
    with torch.device("meta"):  # nothing is allocated
        method = built(recipe)
    setup = recipe._setup(method.optimisation, "cpu")
    batch, rate, decay, warmup, epochs = PUBLISHED[name.removesuffix("_imagenet")]
    assert recipe.batch == batch
    assert setup.optimisation.lr * batch / 256 == pytest.approx(rate)
    assert setup.optimisation.weight_decay == decay
    assert setup.optimisation.warmup * epochs == pytest.approx(warmup)
    assert recipe.steps == (125_000 if "dinov2" in name else epochs * PHOTOGRAPHS // batch)
    method.check(batch)
    if "resnet50" in recipe.model:
        assert method.optimisation is type(method).optimisation
        assert setup.optimisation.optimizer == ("sgd" if rate < 1 else "lars")


@pytest.mark.parametrize("name", NAMES)
def test_each_takes_a_step_in_small(name, photographs, tmp_path, monkeypatch):
    published = recipes.find(name)
    method = spec.Spec.parse(published.method)
    allowed = spec.settings_of(spec.find("methods", method.name, Method))
    fewer = {
        key: value for key, value in SMALL.items() if key in allowed and (key in method.settings or key != "negatives")
    }
    if method.name == "deepcluster":
        fewer |= {"heads": 2}
    model = "test_resnet" if "resnet" in published.model else tiny.VIT
    if "swin" in published.model:
        model = "swin_tiny_patch4_window7_224(embed_dim=12, depths=(1, 1), num_heads=(1, 2), window_size=4)"
    small = dataclasses.replace(
        published, data=str(photographs), method=str(spec.Spec(method.name, method.settings | fewer)), model=model,
        size=32, steps=1, batch=4, device="cpu", precision="fp32", drop_path=published.drop_path / 2,
        out=tmp_path / "run",
    )  # fmt: skip
    drain(small.run())
    assert (tmp_path / "run" / "encoder" / "model.safetensors").exists()
    kept = read_json(tmp_path / "run" / "recipe.json")["derived"]
    assert kept["pictures"] == 10
    assert kept["optimisation"]["lr"] == pytest.approx(published.lr)


def test_photographs_that_are_not_there_are_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["run", "byol-resnet50-imagenet"]) == 2
    said = capsys.readouterr().err
    assert "no data at 'imagenet/train'" in said
    assert "--data" in said
    assert list(tmp_path.iterdir()) == []


def _pretrain(folder, out, method="supcon", **given):
    model = {"supcon": "test_resnet"}.get(method.partition("(")[0], tiny.VIT)
    return Pretrain(data=str(folder), method=method, model=model, size=32, steps=1, batch=4, device="cpu",
                    precision="fp32", out=out, **given)  # fmt: skip


def test_supcon_learns_from_the_labels_of_a_folder(photographs, tmp_path):
    from firstlight.methods.supcon import SupCon

    seen = []
    forward = SupCon.forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            SupCon,
            "forward",
            lambda self, batch, t: seen.append((self.categories, batch.label)) or forward(self, batch, t),
        )
        drain(_pretrain(photographs, tmp_path / "run").run())
    (categories, labels), *_ = seen
    assert categories == 2
    assert set(labels.tolist()) <= {0, 1}


def test_the_teaching_assistant_learns_from_the_labels_of_a_list(photographs, tmp_path):
    rows = [f"{path},{path.parent.name}" for path in sorted(photographs.rglob("*.png"))]
    (tmp_path / "list.csv").write_text("path,label\n" + "\n".join(rows))
    method = f"teaching_assistant(teacher={tiny.kept('teacher')!r}, assistant={tiny.kept('assistant')!r})"
    drain(_pretrain(tmp_path / "list.csv", tmp_path / "run", method).run())
    assert (tmp_path / "run" / "encoder").is_dir()


def test_pictures_without_a_label_are_left_out_with_a_note(photographs, tmp_path):
    rows = [
        f"{path},{path.parent.name if number % 5 else ''}"
        for number, path in enumerate(sorted(photographs.rglob("*.png")))
    ]
    (tmp_path / "list.csv").write_text("path,label\n" + "\n".join(rows))
    notes = [
        event.text for event in _pretrain(tmp_path / "list.csv", tmp_path / "run").run() if isinstance(event, Note)
    ]
    assert "left out for want of a label: 2 of 10 pictures" in notes
    assert read_json(tmp_path / "run" / "recipe.json")["derived"]["pictures"] == 8


def test_without_labels_there_is_nothing_to_learn_from(photographs, tmp_path):
    with pytest.raises(InputError, match="fewer than two classes: allowed are a folder with one folder a class"):
        drain(_pretrain(photographs / "n01440764", tmp_path / "run").run())
    assert not (tmp_path / "run").exists()


def test_classify_on_photographs_is_fine_tuning(photographs, tmp_path):
    with pytest.raises(InputError, match="'firstlight finetune', or choose a method that needs none"):
        drain(_pretrain(photographs, tmp_path / "run", "classify").run())
