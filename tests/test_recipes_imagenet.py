"""The published trainings on ImageNet: each fits its network as published, and takes a step on photographs in small."""

import dataclasses
import types

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from firstlight import cli, recipes, spec
from firstlight.encoder import Encoder
from firstlight.errors import InputError
from firstlight.events import Note, drain
from firstlight.methods import Method, beit
from firstlight.parts.tiles import SHARE, tile_side
from firstlight.recipe.pretrain import Pretrain
from firstlight.runs import read_json
from firstlight.views.batches import side_of

NAMES = [name for name in spec.names("recipes") if name.endswith("_imagenet")]
WITHOUT = {
    "classify",  # fine-tuning
    "teaching_assistant", "autoencoder",  # no training on ImageNet is known
    "inpaint", "split_brain",  # published with halves of an AlexNet and the like
    "cutpaste", "dvae",  # published on other photographs
}  # fmt: skip
PHOTOGRAPHS = 1_281_167
# The batch, the highest rate, the weight decay, the warm-up and the length in epochs, as the public codes say, or the
# papers where there is none. Of `cpc` the length is ours.
PUBLISHED = {
    "barlow_resnet50": (2048, 1.6, 1e-6, 10, 1000),
    "beit_vit_b16": (2048, 1.5e-3, 0.05, 10, 800),
    "byol_resnet50": (4096, 3.2, 1.5e-6, 10, 1000),
    "cmae_vit_b16": (4096, 2.4e-3, 0.05, 40, 1600),
    "cmc_resnet50": (128, 0.03, 1e-4, 0, 240),
    "colorize_vgg16": (40, 3e-5, 1e-3, 0, 14),
    "context_resnet50": (512, 0.2, 1e-4, 5, 70),
    "cpc_resnet101": (512, 2e-4, 0.0, 0, 200),
    "deepcluster_resnet50": (4096, 4.8, 1e-6, 10, 800),
    "dino_resnet50": (512, 0.06, 1e-4, 10, 100),
    "dino_vit_s16": (1024, 2e-3, (0.04, 0.4), 10, 300),
    "dinov2_vit_l16": (2048, 4e-3 * 2**0.5, (0.04, 0.4), 10, 100),
    "esvit_swin_t": (512, 1e-3, (0.04, 0.4), 10, 300),
    "ibot_vit_s16": (1024, 2e-3, (0.04, 0.4), 10, 800),
    "igpt_l": (128, 1e-3, 0.0, 1, 100),
    "igpt_s": (128, 3e-3, 0.0, 1, 100),
    "instance_resnet50": (256, 0.03, 1e-4, 0, 200),
    "jigsaw_resnet50": (256, 0.1, 1e-4, 5, 105),
    "mae_vit_b16": (4096, 2.4e-3, 0.05, 40, 1600),
    "masked_patch_vit_b16": (4096, 2e-4, 0.1, 1, 100),  # of 10,000 steps each
    "moby_swin_t": (512, 1e-3, 0.05, 5, 300),
    "moco_v1_resnet50": (256, 0.03, 1e-4, 0, 200),
    "moco_v2_resnet50": (256, 0.03, 1e-4, 0, 200),
    "moco_v3_resnet50": (4096, 4.8, 1.5e-6, 10, 1000),
    "moco_v3_vit_b16": (4096, 2.4e-3, 0.1, 40, 300),
    "moco_v3_vit_s16": (4096, 2.4e-3, 0.1, 40, 300),
    "multimae_vit_b16": (2048, 8e-4, 0.05, 40, 1600),
    "pirl_resnet50": (1024, 0.12, 1e-4, 0, 800),
    "rotation_resnet50": (128, 0.2, 1e-4, 5, 70),
    "simclr_v1_resnet50": (4096, 4.8, 1e-6, 10, 1000),
    "simclr_v2_resnet50": (4096, 6.4, 1e-4, 40, 800),
    "simmim_swin_b": (2048, 8e-4, 0.05, 10, 100),
    "simmim_vit_b16": (2048, 4e-4, 0.05, 10, 800),
    "simsiam_resnet50": (512, 0.1, 1e-4, 0, 100),
    "sit_vit_s16": (256, 5e-4, (0.04, 0.1), 10, 801),
    "supcon_resnet50": (6144, 9.6, 1e-3, 12, 350),
    "swav_resnet50": (4096, 4.8, 1e-6, 10, 800),
}
# Where the length is a number of steps, whatever the photographs.
STEPS = {
    "colorize_vgg16": 450_000, "dinov2_vit_l16": 125_000, "igpt_l": 1_000_000, "igpt_s": 1_000_000,
    "masked_patch_vit_b16": 1_000_000,
}  # fmt: skip
# The side of the pictures, the drop path, and the encoder's weights in millions, without a classifier: of networks that
# timm and torchvision have, their count; of iGPT, 12 times the squared width for each block, and the embeddings.
NETWORKS = {
    "beit_vit_b16": (224, 0.1, 85.8), "cmae_vit_b16": (224, 0.0, 85.8), "cmc_resnet50": (224, 0.0, 2 * 23.5),
    "colorize_vgg16": (224, 0.0, 134.3), "context_resnet50": (224, 0.0, 23.5), "cpc_resnet101": (256, 0.0, 27.5),
    "igpt_l": (32, 0.0, 1361), "igpt_s": (32, 0.0, 76), "jigsaw_resnet50": (224, 0.0, 23.5),
    "mae_vit_b16": (224, 0.0, 85.8), "masked_patch_vit_b16": (224, 0.0, 85.8), "multimae_vit_b16": (224, 0.0, 85.8),
    "rotation_resnet50": (224, 0.0, 23.5), "simmim_swin_b": (192, 0.0, 86.7), "simmim_vit_b16": (224, 0.1, 85.8),
    "sit_vit_s16": (224, 0.1, 21.7),
}  # fmt: skip
SMALL = {
    "hidden": 16, "dim": 8, "bottleneck": 8, "prototypes": 4, "queue": 8, "groups": 2, "negatives": 4, "width": 16,
    "depth": 1, "heads": 2, "colours": 16,
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


@pytest.fixture
def codes(monkeypatch):
    """Stands for DALL-E's encoder, which is not here."""
    monkeypatch.setattr(beit, "Tokenizer", lambda path, like: types.SimpleNamespace(count=8192, path=path))


def built(name: str) -> Method:
    """In full size, with nothing allocated but what some compute from numbers."""
    recipe = recipes.find(f"{name}_imagenet")
    with torch.device("meta"):
        encoder = Encoder(recipe.model, size=recipe.size, drop_path=recipe.drop_path)
    computed = spec.Spec.parse(recipe.method).name in ("colorize", "jigsaw")  # a table of colours, and of orders
    with torch.device("cpu" if computed else "meta"):
        return spec.build("methods", recipe.method, Method, encoder, pictures=PHOTOGRAPHS, categories=1000)


def test_every_method_has_its_training_but_those_that_have_none():
    used = {spec.Spec.parse(recipes.find(name).method).name for name in NAMES}
    assert used == set(spec.names("methods")) - WITHOUT
    assert {name.removesuffix("_imagenet") for name in NAMES} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_fits_its_network_as_published(name, codes):
    recipe, method = recipes.find(f"{name}_imagenet"), built(name)
    setup = recipe._setup(method.optimisation, "cpu")
    batch, rate, decay, warmup, epochs = PUBLISHED[name]
    assert recipe.batch == batch
    assert setup.optimisation.lr * batch / 256 == pytest.approx(rate)
    assert setup.optimisation.weight_decay == decay
    assert setup.optimisation.warmup * epochs == pytest.approx(warmup)
    assert recipe.steps == STEPS.get(name, epochs * PHOTOGRAPHS // batch)
    method.check(batch)
    if "resnet50" in recipe.model:
        assert method.optimisation is type(method).optimisation
        assert setup.optimisation.optimizer == ("sgd" if rate < 1 else "lars")
    if name in NETWORKS:
        side, drop_path, millions = NETWORKS[name]
        assert (recipe.size, recipe.drop_path) == (side, drop_path)
        weights = sum(weight.numel() for weight in method.encoder.parameters())
        assert weights / 1e6 == pytest.approx(millions, rel=0.01)


def test_tiles_patches_and_masks_measure_what_the_papers_say(codes):
    context, jigsaw, cpc, cmae = map(built, ("context_resnet50", "jigsaw_resnet50", "cpc_resnet101", "cmae_vit_b16"))
    for method, share in ((context, context.cut["share"]), (jigsaw, SHARE)):
        side = side_of(method.views[0], 224, 1)
        assert (side, tile_side(side, share=share)) == (255, 64)
    assert (cpc.patches.side, cpc.patches.grid.whole(64), side_of(cpc.views[0], 256, 1)) == (64, 256, 256)
    assert (len(jigsaw.puzzles.orders), jigsaw.narrow.widths) == (100, (2048, 1000))
    assert (side_of(cmae.views[0], 224, 1), cmae.shift.pixels, cmae.pixels.enter.out_features) == (256, 32, 512)

    squares, patches = built("simmim_swin_b"), built("simmim_vit_b16")
    assert (squares.unit, squares.count, patches.unit, patches.count) == (32, 22, 32, 30)
    words, colours, maps, pixels = map(built, ("beit_vit_b16", "masked_patch_vit_b16", "multimae_vit_b16", "igpt_s"))
    assert words.tokenizer.path == "dall_e/encoder.pt"
    assert words.holes.share == pytest.approx((75 / 196, 75 / 196))
    assert (colours.count, maps.visible) == (98, 98)
    assert (pixels.encoder.patches, len(pixels.palette.rows)) == (1024, 512)


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
    if method.name == "beit":
        fewer |= {"tokenizer": tiny.tokenizer()}
    model = "test_resnet" if "resnet" in published.model or "vgg" in published.model else tiny.VIT
    if "swin" in published.model:
        model = "swin_tiny_patch4_window7_224(embed_dim=12, depths=(1, 1), num_heads=(1, 2), window_size=4)"
    if method.name == "igpt":
        model = "vit_tiny_patch16_224(patch_size=1, embed_dim=48, depth=2, num_heads=2)"
    small = dataclasses.replace(
        published, data=str(photographs), method=str(spec.Spec(method.name, method.settings | fewer)), model=model,
        size=8 if method.name == "igpt" else 32, steps=1, batch=4, device="cpu", precision="fp32",
        drop_path=published.drop_path / 2, out=tmp_path / "run",
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
