"""The neck: SimCLR v2's head against one written out, and what is kept of it after pre-training."""

import copy
import json
import math
import shutil
import warnings

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

import firstlight
import tiny
from firstlight import cli
from firstlight.classifier import load_classifier
from firstlight.encoder import Encoder
from firstlight.errors import CorruptError, InputError
from firstlight.methods import Optimisation
from firstlight.methods.classify import Classify
from firstlight.methods.simclr import SimCLR
from firstlight.runs import read_json
from firstlight.train.optimisers import parameter_groups
from tiny_training import same

PLAIN = "resnet10t"


def pretrained(model: str = tiny.RESNET, layers: int = 3, keep: int = 1, hidden: int | None = 24, **settings) -> SimCLR:
    """A head whose running statistics are no longer those it began with."""
    torch.manual_seed(0)
    method = SimCLR(Encoder(model, size=32), layers=layers, keep=keep, hidden=hidden, dim=8, **settings)
    tiny.three_steps(method)
    return method


def pictures(count: int = 4, channels: int = 3) -> torch.Tensor:
    return torch.randn(count, channels, 32, 32, generator=torch.Generator().manual_seed(1))


def through(features: torch.Tensor, weights: list[torch.Tensor], middle: int) -> torch.Tensor:
    """SimCLR v2's head by hand, in training mode: linear and batch norm in every layer, ReLU in all but the last.

    Args:
        features: of the network.
        weights: of the linear layers; scales of the batch norms are 1 and shifts 0.
        middle: the number of layers after which to stop, as ``ft_proj_selector`` counts in the paper.
    """
    for place, weight in enumerate(weights[:middle], start=1):
        features = features @ weight.T
        mean = features.mean(0)
        variance = (features - mean).square().sum(0) / len(features)
        features = (features - mean) / (variance + 1e-5).sqrt()
        features = features if place == len(weights) else features.clamp(min=0)
    return features


@pytest.mark.parametrize(("layers", "keep"), [(2, 0), (3, 0), (3, 1), (3, 2), (4, 2), (2, 1)])
def test_the_head_is_the_papers_wherever_it_is_cut(layers, keep):
    torch.manual_seed(0)
    method = SimCLR(Encoder(tiny.RESNET, size=32), layers=layers, keep=keep, hidden=24, dim=8).double()
    encoder, x = method.encoder, pictures(6).double()
    weights = [p for name, p in method.named_parameters() if not name.startswith("encoder.net.") and p.ndim == 2]
    assert len(weights) == layers
    network = encoder.net(x)

    torch.testing.assert_close(encoder(x), through(network, weights, keep), rtol=0, atol=1e-9)
    torch.testing.assert_close(method.head(encoder(x)), through(network, weights, layers), rtol=0, atol=1e-9)
    assert encoder.width == encoder(x).shape[1] == (24 if keep else network.shape[1])


def test_where_the_head_is_cut_changes_no_training():
    losses = []
    for keep in (0, 1, 2):
        torch.manual_seed(0)
        method = SimCLR(Encoder(tiny.RESNET, size=32), layers=3, keep=keep, hidden=24, dim=8)
        losses.append(tiny.three_steps(method))
    assert losses[0] == losses[1] == losses[2]


def test_hidden_layers_are_as_wide_as_the_network_by_default():
    method = pretrained(hidden=None, keep=2)
    width = method.encoder.net.num_features
    assert method.encoder.neck.widths == (width, width, width)


@pytest.mark.parametrize(("layers", "keep"), [(3, 3), (3, -1), (1, 1), (2, 5)])
def test_nothing_else_can_be_kept(layers, keep):
    with pytest.raises(InputError, match=rf"keep={keep}\): .*nearest: {min(max(keep, 0), layers - 1)}$"):
        pretrained(layers=layers, keep=keep)


def test_an_encoder_has_one_neck():
    encoder = pretrained().encoder
    with pytest.raises(InputError, match=r"neck already.*neck=False"):
        SimCLR(encoder, layers=3, keep=1)


@pytest.mark.parametrize("model", [tiny.VIT, tiny.RESNET])
@torch.no_grad()
def test_tokens_and_maps_are_those_of_the_network(model):
    torch.manual_seed(0)
    plain, x = Encoder(model, size=32).eval(), pictures()
    necked = copy.deepcopy(plain)
    necked.add_neck(24, 1)
    necked.eval()
    assert (necked.regions, necked.token_width, necked.prefix) == (plain.regions, plain.token_width, plain.prefix)
    assert torch.equal(necked.tokens(x), plain.tokens(x))
    assert all(torch.equal(a, b) for a, b in zip(necked.maps(x), plain.maps(x), strict=True))
    pooled, tokens = necked.pooled_and_tokens(x)
    assert torch.equal(pooled, necked(x))
    assert torch.equal(pooled, necked.neck(plain(x)))
    assert torch.equal(tokens, plain.tokens(x))


@pytest.mark.parametrize("layers", [1, 2])
def test_the_neck_is_one_layer_after_the_network(layers):
    encoder = Encoder(tiny.VIT, size=32)
    before = encoder.layers  # the network's own order may be known by now
    own = {name: encoder.layer_of(name) for name, _ in encoder.named_parameters()}
    encoder.add_neck(24, layers)
    assert encoder.layers == before + 1
    for name, _ in encoder.named_parameters():
        assert encoder.layer_of(name) == own.get(name, before + 1)
    with pytest.raises(InputError, match="parameter of the encoder"):
        encoder.layer_of("neck.0.bias")


def test_rates_and_decay():
    method = Classify(pretrained(tiny.VIT).encoder, categories=3)
    groups = parameter_groups(method, Optimisation(layer_decay=0.5))
    found = {id(p): (group["decays"], group["rate"]) for group in groups for p in group["params"]}
    named = {name: found[id(p)] for name, p in method.named_parameters()}
    assert named["encoder.neck.0.weight"] == named["head.weight"] == (True, 1.0)
    assert named["encoder.neck.1.weight"] == named["encoder.neck.1.bias"] == named["head.bias"] == (False, 1.0)
    assert named["encoder.net.norm.weight"] == (False, 0.5)
    assert named["encoder.net.patch_embed.proj.weight"] == (True, 0.5 ** (method.encoder.layers))


@pytest.mark.parametrize("model", [tiny.VIT, tiny.RESNET])
@pytest.mark.parametrize("keep", [1, 2])
def test_a_kept_neck_comes_back_to_the_bit(model, keep, tmp_path):
    encoder = pretrained(model, keep=keep).encoder.eval()
    again = Encoder.load(encoder.save(tmp_path / "run" / "encoder")).eval()
    assert same(encoder, again)
    assert again.width == 24
    assert again.neck.widths == encoder.neck.widths
    assert all(p.requires_grad for p in again.parameters())
    with torch.no_grad():
        assert torch.equal(encoder(pictures()), again(pictures()))
    assert same(Encoder.load(tmp_path / "run"), encoder)

    config = json.loads((tmp_path / "run/encoder/config.json").read_text())
    assert config["format"] == 2, "a reader that knows of no neck must refuse"
    assert config["neck"]["widths"] == list(encoder.neck.widths)


def test_statistics_are_kept_too():
    """Otherwise a round trip of a fresh neck would prove little."""
    neck = pretrained().encoder.neck
    assert neck[1].num_batches_tracked == 3
    assert neck[1].running_mean.abs().sum() > 0


def test_without_its_neck_it_is_the_network_alone(tmp_path):
    encoder = pretrained().encoder.eval()
    encoder.save(tmp_path)
    alone = Encoder.load(tmp_path, neck=False).eval()
    assert alone.neck is None
    assert alone.width == encoder.net.num_features
    with torch.no_grad():
        assert torch.equal(alone(pictures()), encoder.net(pictures()))
        assert torch.equal(encoder(pictures()), encoder.neck(alone(pictures())))
    (tmp_path / "neck.safetensors").unlink()
    assert same(Encoder.load(tmp_path, neck=False), alone)


def test_timm_reads_the_network_and_folders_without_a_neck_are_as_before(tmp_path):
    encoder = pretrained(PLAIN).encoder.eval()
    encoder.save(tmp_path / "with")
    alone = Encoder.load(tmp_path / "with", neck=False)
    alone.save(tmp_path / "without")
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("with", "without")]
    assert files[0] == files[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        by_file = timm.create_model(
            PLAIN, num_classes=0, checkpoint_path=str(tmp_path / "with" / "model.safetensors")
        ).eval()
        by_folder = timm.create_model(f"local-dir:{tmp_path / 'with'}", pretrained=True).eval()
    with torch.no_grad():
        assert torch.equal(by_file(pictures()), encoder.net(pictures()))
        assert torch.equal(by_folder(pictures()), encoder.net(pictures()))

    plain = json.loads((tmp_path / "without" / "config.json").read_text())
    assert plain["format"] == 1
    assert "neck" not in plain
    assert not (tmp_path / "without" / "neck.safetensors").exists()


def test_a_neck_that_is_no_more_is_not_read(tmp_path):
    encoder = pretrained().encoder
    encoder.save(tmp_path)
    Encoder.load(tmp_path, neck=False).save(tmp_path)
    assert Encoder.load(tmp_path).neck is None


def test_channels_change_below_the_neck(tmp_path):
    pretrained().encoder.save(tmp_path)
    grey = Encoder.load(tmp_path, channels=1, size=64)
    assert grey(pictures(channels=1)).shape == (4, 24)


def test_damage_is_noticed(tmp_path):
    def broken(name: str):
        folder = shutil.copytree(tmp_path / "whole", tmp_path / name)
        return folder, folder / "neck.safetensors", folder / "config.json"

    pretrained().encoder.save(tmp_path / "whole")

    folder, neck, _ = broken("flipped")
    content = bytearray(neck.read_bytes())
    content[-1] ^= 1
    neck.write_bytes(content)
    with pytest.raises(CorruptError, match=r"neck\.safetensors.*is not what was written"):
        Encoder.load(folder)

    folder, neck, _ = broken("shortened")
    neck.write_bytes(neck.read_bytes()[:-8])
    with pytest.raises(CorruptError, match=r"neck\.safetensors"):
        Encoder.load(folder)

    folder, neck, _ = broken("missing")
    neck.unlink()
    with pytest.raises(CorruptError, match="is missing; the network alone loads with neck=False"):
        Encoder.load(folder)

    said = read_json(tmp_path / "whole" / "config.json")["neck"]
    width = said["widths"][0]
    wrong = [[width, 25], [width, 24, 24], [width + 1, 24], [width, -24], [width], [width, True], [width, 10**12], "24"]
    for number, widths in enumerate(wrong):
        folder, _, config = broken(f"said{number}")
        config.write_text(json.dumps(read_json(config) | {"neck": said | {"widths": widths}}))
        with pytest.raises(CorruptError, match=r"neck\.safetensors.* widths"):
            Encoder.load(folder)
    for number, about in enumerate(("yes", None, {"widths": said["widths"]})):
        folder, _, config = broken(f"half{number}")
        config.write_text(json.dumps(read_json(config) | {"neck": about}))
        with pytest.raises(CorruptError, match="does not say what the neck is"):
            Encoder.load(folder)


@pytest.mark.parametrize("neck", [False, True])
@pytest.mark.parametrize("model", [PLAIN, "deit_tiny_distilled_patch16_224(patch_size=8, depth=2, embed_dim=48)"])
@torch.no_grad()
def test_a_classifier_comes_back_whole(model, neck, tmp_path):
    torch.manual_seed(0)
    encoder = Encoder(model, size=32)
    if neck:
        encoder.add_neck(24, 1)
    head = nn.Linear(encoder.width, 3)
    encoder.save(tmp_path, head=head, classes=["a", "b", "c"])
    again = load_classifier(tmp_path)
    assert torch.equal(again(pictures()), head(encoder.eval()(pictures())))
    assert same(again[1], head)

    config = read_json(tmp_path / "config.json")
    assert config["label_names"] == ["a", "b", "c"]
    assert config["num_classes"] == (0 if neck else 3), "what timm's model has"
    net = timm.create_model(
        config["architecture"], num_classes=config["num_classes"], **config["model_args"],
        checkpoint_path=str(tmp_path / "model.safetensors"),
    ).eval()  # fmt: skip
    expected = encoder.net(pictures()) if neck else again(pictures())
    torch.testing.assert_close(net(pictures()), expected, atol=1e-5, rtol=1e-5)


def test_an_encoder_is_no_classifier(tmp_path):
    pretrained().encoder.save(tmp_path / "with")
    Encoder.load(tmp_path / "with", neck=False).save(tmp_path / "without")
    for name in ("with", "without"):
        with pytest.raises(InputError, match="an encoder without a classifier"):
            load_classifier(tmp_path / name)


def test_fine_tuning_trains_network_and_neck():
    method = Classify(pretrained().encoder, categories=4, smoothing=0.0)
    before = copy.deepcopy(method.state_dict())
    batch = tiny.batch(method)
    expected = method.head(method.encoder.neck(method.encoder.net(batch.views[0])))
    assert method(batch, 0.0)["loss"].item() == pytest.approx(F.cross_entropy(expected, batch.label).item(), abs=1e-5)

    tiny.three_steps(method)
    still = [n for n, p in method.named_parameters() if torch.equal(p, before[n])]
    assert not still


# From here on as a user runs it: pre-training, then what comes after, by the command line.

SMALL = ["--size", "32", "--device", "cpu", "--precision", "fp32", "--batch", "16"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("neck") / "simclr"
    method = "simclr(layers=3, keep=1, hidden=24, dim=8)"
    arguments = ["pretrain", "--data", "digits", "--method", method, "--model", PLAIN, *SMALL, "--steps", "4"]
    assert cli.run([*arguments, "--save-every", "2", "--out", str(out)]) == 0
    return out


def test_pretraining_keeps_it_and_resumes_to_the_same_bits(run, tmp_path):
    first, last = sorted((run / "checkpoints").iterdir())
    shutil.copytree(first, tmp_path / "again" / "checkpoints" / first.name)
    for name in ("recipe.json", "events.jsonl"):
        shutil.copy(run / name, tmp_path / "again" / name)
    recipe = read_json(tmp_path / "again" / "recipe.json")
    recipe["settings"]["out"] = str(tmp_path / "again")
    (tmp_path / "again" / "recipe.json").write_text(json.dumps(recipe))
    assert cli.run(["resume", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "checkpoints" / last.name).is_dir()
    for name in ("model", "neck"):
        files = [folder / "encoder" / f"{name}.safetensors" for folder in (run, tmp_path / "again")]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert firstlight.load(run).neck[1].num_batches_tracked == 4


def test_finetune_starts_in_the_middle_and_its_classifier_is_whole(run, tmp_path, capsys):
    common = ["finetune", "digits", "--encoder", str(run), "--labels-per-class", "4", "--steps", "2", "--batch", "16"]
    common += ["--device", "cpu", "--precision", "fp32"]
    assert cli.run([*common, "--out", str(tmp_path / "with")]) == 0
    assert cli.run([*common, "--out", str(tmp_path / "without"), "--no-neck"]) == 0
    shown = capsys.readouterr()
    assert "timm loads the network alone" in shown.out + shown.err

    whole = firstlight.load_classifier(tmp_path / "with")
    assert whole[1].weight.shape == (10, 24)
    assert not torch.equal(whole[0].neck[0].weight, firstlight.load(run).neck[0].weight), "the neck was trained"
    plain = firstlight.load_classifier(tmp_path / "without")
    assert plain[0].neck is None
    assert plain[1].weight.shape == (10, 512)

    out = tmp_path / "exported"
    assert cli.run(["export", str(tmp_path / "with"), "--what", "classifier", "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert "load_classifier" in shown.out + shown.err
    assert same(firstlight.load_classifier(out), whole)


def test_export_copies_both_files_and_says_so(run, tmp_path, capsys):
    assert cli.run(["export", str(run), "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr()
    assert "its neck is in neck.safetensors" in " ".join((shown.out + shown.err).split())
    for name in ("model.safetensors", "neck.safetensors", "config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (run / "encoder" / name).read_bytes()


def test_evaluate_sees_the_neck_or_not(run, tmp_path):
    common = ["evaluate", "digits", "--encoder", str(run), "--labels-per-class", "4", "--protocols", "knn"]
    common += ["--device", "cpu"]
    accuracy = {}
    for flag in ("--neck", "--no-neck"):
        assert cli.run([*common, flag, "--out", str(tmp_path / flag)]) == 0
        assert read_json(tmp_path / flag / "recipe.json")["settings"]["neck"] is (flag == "--neck")
        accuracy[flag] = read_json(tmp_path / flag / "results" / "knn.json")["numbers"]["accuracy"]
    assert not any(map(math.isnan, accuracy.values()))
    assert accuracy["--neck"] != accuracy["--no-neck"]


def test_another_pretraining_starts_from_the_network(run, tmp_path):
    out = tmp_path / "next"
    method = "simclr(layers=3, keep=2, hidden=16, dim=8)"
    arguments = ["pretrain", "--data", "digits", "--method", method, "--init", str(run), *SMALL, "--steps", "1"]
    assert cli.run([*arguments, "--out", str(out)]) == 0
    assert firstlight.load(out).neck.widths == (512, 16, 16)
