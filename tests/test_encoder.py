"""The encoder: every family's features against timm's own, kept tokens, sizes, layers, and what it writes."""

import copy
import json
import pickle
import socket

import pytest
import timm
import torch

from firstlight.encoder import Encoder, names
from firstlight.errors import CorruptError, InputError

VIT = "vit_tiny_patch16_224(patch_size=8, depth=2, embed_dim=48)"
DISTILLED = "deit_tiny_distilled_patch16_224(patch_size=8, depth=2, embed_dim=48)"
SWIN = "swin_tiny_patch4_window7_224(depths=(1, 1, 2, 1), embed_dim=24)"
FAMILIES = {
    "resnet10t": "resnet10t",
    "resnet18": "resnet18",
    "efficientnetv2": "tf_efficientnetv2_b0",
    "vit": VIT,
    "vit average": "vit_tiny_patch16_224(patch_size=8, depth=2, embed_dim=48, global_pool='avg')",
    "deit": "deit_tiny_patch16_224(patch_size=8, depth=2, embed_dim=48)",
    "deit distilled": DISTILLED,
    "xcit": "xcit_nano_12_p16_224(depth=2)",
    "swin": SWIN,
    "gmlp": "gmlp_ti16_224",
    "mixer": "mixer_s32_224",
}
MASKABLE = ("vit", "vit average", "deit", "deit distilled")
SIZE = 64

every_family = pytest.mark.parametrize("family", FAMILIES)
every_maskable = pytest.mark.parametrize("family", MASKABLE)


@pytest.fixture(scope="module")
def encoders():
    """One encoder of each family, built when first asked for. Tests leave it as it was."""
    built: dict[str, Encoder] = {}

    def get(family: str) -> Encoder:
        if family not in built:
            torch.manual_seed(0)
            built[family] = Encoder(FAMILIES[family], size=SIZE)
        return built[family].eval()

    return get


def pictures(size=SIZE, channels=3, seed=1, count=2):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def close(a, b, tolerance=2e-5):
    torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


@every_family
@torch.no_grad()
def test_pooled_features_are_those_of_timm(encoders, family):
    encoder, x = encoders(family), pictures()
    torch.manual_seed(0)
    name = encoder.model.partition("(")[0]
    reference = timm.create_model(name, num_classes=0, **encoder.arguments).eval()

    features = encoder(x)

    assert features.shape == (2, encoder.width)
    close(features, reference(x))
    close(features, reference.forward_head(reference.forward_features(x), pre_logits=True))


@every_family
@torch.no_grad()
def test_tokens(encoders, family):
    encoder, x = encoders(family), pictures()
    tokens = encoder.tokens(x)

    if encoder.patch:
        assert encoder.patches == (SIZE // encoder.patch) ** 2
        assert tokens.shape == (2, encoder.prefix + encoder.patches, encoder.width)
    else:
        assert encoder.patches is None
        assert tokens.shape == (2, (SIZE // 32) ** 2, encoder.width)
    pooled = {
        "vit": tokens[:, 0],
        "deit": tokens[:, 0],
        "xcit": tokens[:, 0],
        "deit distilled": tokens[:, :2].mean(1),
        "vit average": None,  # the final norm comes after the average, so that the average of normed tokens differs
    }.get(family, tokens.mean(1))
    if pooled is not None:
        close(encoder(x), pooled)


def test_the_attributes_of_each_family(encoders):
    found = {name: encoders(name) for name in FAMILIES}
    assert {name: (e.patch, e.prefix) for name, e in found.items()} == {
        "resnet10t": (None, 0),
        "resnet18": (None, 0),
        "efficientnetv2": (None, 0),
        "vit": (8, 1),
        "vit average": (8, 1),
        "deit": (8, 1),
        "deit distilled": (8, 2),
        "xcit": (16, 1),
        "swin": (None, 0),
        "gmlp": (16, 0),
        "mixer": (32, 0),
    }
    assert tuple(name for name, e in found.items() if e.maskable) == MASKABLE
    assert {name for name, e in found.items() if not e.any_size} == {"gmlp", "mixer"}
    assert all((e.mean, e.std) == (0.5, 0.5) for e in found.values())


@torch.no_grad()
def test_tokens_go_over_the_picture_row_by_row(encoders):
    encoder, x = encoders("vit"), pictures(count=1)
    changed = x.clone()
    changed[:, :, 8:16, 24:32] = 3.0  # row 1, column 3 of patches of 8
    grid = SIZE // 8
    embedded = [encoder.net.patch_embed(p).flatten(1, 2)[0] for p in (x, changed)]
    assert (embedded[0] != embedded[1]).any(1).nonzero().flatten().tolist() == [grid + 3]

    convolved = encoders("resnet18")
    flat, (*_, last) = convolved.tokens(x), convolved.maps(x)
    assert torch.equal(flat[0, 1], last[0, :, 0, 1])


@every_maskable
@torch.no_grad()
def test_keeping_all_patches_changes_nothing(encoders, family):
    encoder, x = encoders(family), pictures()
    order = torch.arange(encoder.patches).expand(2, -1)
    close(encoder.tokens(x, order), encoder.tokens(x))


@every_maskable
@torch.no_grad()
def test_permuted_patches_permute_their_tokens(encoders, family):
    encoder, x = encoders(family), pictures()
    random = torch.Generator().manual_seed(2)
    order = torch.stack([torch.randperm(encoder.patches, generator=random) for _ in range(2)])

    whole, permuted = encoder.tokens(x), encoder.tokens(x, order)

    close(permuted[:, : encoder.prefix], whole[:, : encoder.prefix])
    for row in range(2):
        close(permuted[row, encoder.prefix :], whole[row, encoder.prefix :][order[row]])


@every_maskable
@torch.no_grad()
def test_kept_tokens_equal_attention_that_cannot_see_the_others(encoders, family):
    """The reference computes every patch, and hides those left out by an attention mask."""
    encoder, x = encoders(family), pictures(count=1)
    keep = torch.tensor([[5, 60, 2, 33]])
    seen = torch.cat([torch.arange(encoder.prefix), keep[0] + encoder.prefix])
    visible = torch.zeros(encoder.prefix + encoder.patches, dtype=torch.bool)
    visible[seen] = True
    mask = visible.expand(len(visible), -1) | torch.eye(len(visible), dtype=torch.bool)

    reference = encoder.net.fc_norm(encoder.net.forward_features(x, attn_mask=mask))

    close(encoder.tokens(x, keep), reference[:, seen])


@every_maskable
@torch.no_grad()
def test_patches_that_are_not_kept_are_never_seen(encoders, family):
    encoder, x = encoders(family), pictures()
    keep = torch.tensor([[0, 9], [9, 0]])
    elsewhere = x.clone()
    elsewhere[:, :, 16:, :] = 7.0  # patches 0 and 9 lie in the first 16 rows
    assert torch.equal(encoder.tokens(x, keep), encoder.tokens(elsewhere, keep))
    assert encoder.tokens(x, keep).shape == (2, encoder.prefix + 2, encoder.width)


@every_maskable
@torch.no_grad()
def test_patches_that_are_not_kept_cost_nothing(encoders, family):
    """Hiding them from attention would give the same features, and spend on every block what all patches cost."""
    encoder, lengths = encoders(family), []
    count = lambda _, inputs: lengths.append(inputs[0].shape[1])  # noqa: E731
    handles = [block.register_forward_pre_hook(count) for block in encoder.net.blocks]
    encoder.tokens(pictures(), torch.tensor([[0, 9, 5], [9, 0, 60]]))
    for handle in handles:
        handle.remove()
    assert lengths == [encoder.prefix + 3] * 2, "in both blocks"


@pytest.mark.parametrize("family", ["vit average", "vit"])
def test_every_weight_learns_from_kept_tokens(family):
    encoder = Encoder(FAMILIES[family], size=SIZE)
    encoder.tokens(pictures(), torch.tensor([[1, 2], [3, 4]])).square().mul(torch.rand(48)).sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []


def test_keep_is_refused_where_it_has_no_meaning(encoders):
    keep = torch.zeros(2, 1, dtype=torch.int64)
    for family in ("resnet18", "swin", "mixer", "xcit"):
        with pytest.raises(InputError, match="choose a Vision Transformer"):
            encoders(family).tokens(pictures(), keep)
    with pytest.raises(InputError, match="int64"):
        encoders("vit").tokens(pictures(), keep.int())
    with pytest.raises(InputError, match=r"int64 \[2, K\]"):
        encoders("vit").tokens(pictures(), keep[:1])


@every_family
@torch.no_grad()
def test_both_in_one_pass(encoders, family):
    encoder, x = encoders(family), pictures()
    pooled, tokens = encoder.pooled_and_tokens(x)
    close(pooled, encoder(x))
    close(tokens, encoder.tokens(x))
    assert tokens.shape[1:] == (encoder.prefix + encoder.regions, encoder.token_width)


FILLABLE = (*MASKABLE, "swin")
every_fillable = pytest.mark.parametrize("family", FILLABLE)


def holes(encoder: Encoder, cells: int, count=2, seed=3) -> torch.Tensor:
    return torch.rand(count, cells, generator=torch.Generator().manual_seed(seed)) < 0.4


@every_fillable
@torch.no_grad()
def test_a_hole_takes_the_place_of_the_embedded_patch(encoders, family):
    """The reference replaces what the patch embedding puts out, whatever the model does next."""
    encoder, x = encoders(family), pictures()
    hidden, hole = holes(encoder, encoder.regions), torch.randn(encoder.entry)

    def replaced(_, inputs, out):
        times = out.shape[1] // int(encoder.regions**0.5)
        grid = hidden.view(2, *[int(encoder.regions**0.5)] * 2)
        grid = grid.repeat_interleave(times, 1).repeat_interleave(times, 2)
        return torch.stack(
            [
                torch.stack([torch.stack([hole if h else p for h, p in zip(*row)]) for row in zip(*picture)])
                for picture in zip(grid, out)
            ]
        )

    handle = encoder.net.patch_embed.register_forward_hook(replaced)
    features = encoder.net.forward_features(x)
    handle.remove()

    pooled, tokens = encoder.pooled_and_tokens(x, hidden, hole)
    close(tokens, encoder._flat(features))
    close(pooled, encoder.net.forward_head(features, pre_logits=True))
    close(encoder.tokens(x, hidden=hidden, hole=hole), tokens)


@every_fillable
@torch.no_grad()
def test_hidden_patches_are_never_seen(encoders, family):
    encoder, x = encoders(family), pictures()
    hidden, hole = holes(encoder, encoder.regions), torch.randn(encoder.entry)
    cells = int(encoder.regions**0.5)
    times = SIZE // cells
    square = hidden.view(2, 1, cells, cells).repeat_interleave(times, 2).repeat_interleave(times, 3)
    elsewhere = torch.where(square, 7.0, x)
    assert torch.equal(encoder.tokens(x, hidden=hidden, hole=hole), encoder.tokens(elsewhere, hidden=hidden, hole=hole))
    close(encoder.tokens(x, hidden=torch.zeros_like(hidden), hole=hole), encoder.tokens(x))


@torch.no_grad()
def test_holes_may_be_coarser_or_finer_than_tokens(encoders):
    hole = torch.randn(48)
    coarse = torch.tensor([[True, False, False, True], [False, True, False, False]])
    fine = coarse.view(2, 2, 2).repeat_interleave(4, 1).repeat_interleave(4, 2).flatten(1)
    vit = encoders("vit")
    close(vit.tokens(pictures(), hidden=coarse, hole=hole), vit.tokens(pictures(), hidden=fine, hole=hole))
    swin, hole = encoders("swin"), torch.randn(24)
    finest = fine.view(2, 8, 8).repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1)  # a cell for each patch
    close(swin.tokens(pictures(), hidden=coarse, hole=hole), swin.tokens(pictures(), hidden=finest, hole=hole))


@torch.no_grad()
def test_some_patches_may_be_kept_and_others_hidden(encoders):
    encoder, x, hole = encoders("vit"), pictures(), torch.randn(48)
    hidden, order = holes(encoder, encoder.patches), torch.arange(encoder.patches).expand(2, -1)
    close(encoder.tokens(x, order, hidden, hole), encoder.tokens(x, hidden=hidden, hole=hole))


@every_fillable
def test_holes_learn(encoders, family):
    encoder = encoders(family)
    hole = torch.zeros(encoder.entry, requires_grad=True)
    encoder.tokens(pictures(), hidden=holes(encoder, encoder.regions), hole=hole).square().sum().backward()
    assert hole.grad.abs().sum() > 0


def test_holes_are_refused_where_they_have_no_place(encoders):
    hidden = torch.zeros(2, 64, dtype=torch.bool)
    for family in ("resnet18", "mixer", "xcit"):
        assert encoders(family).entry is None
        with pytest.raises(InputError, match=r"cannot hide patches; choose a Vision Transformer.*swin_"):
            encoders(family).tokens(pictures(), hidden=hidden, hole=torch.zeros(48))
    vit = encoders("vit")
    for wrong in (hidden[:1], hidden[:, :9], hidden[:, :5], hidden.float(), hidden[:, :0]):
        with pytest.raises(InputError, match="hidden must be bool"):
            vit.tokens(pictures(), hidden=wrong, hole=torch.zeros(48))
    for wrong in (None, torch.zeros(24), torch.zeros(1, 48)):
        with pytest.raises(InputError, match=r"hole must be a vector \[48\]"):
            vit.tokens(pictures(), hidden=hidden, hole=wrong)


@pytest.mark.parametrize("family", ["resnet18", "efficientnetv2", "vit", "deit distilled", "xcit", "swin"])
@torch.no_grad()
def test_crops_of_another_size(encoders, family):
    encoder = encoders(family)
    assert encoder(pictures(32)).shape == (2, encoder.width)
    assert encoder(pictures(96)).shape == (2, encoder.width)


@every_maskable
@torch.no_grad()
def test_kept_patches_of_a_crop_of_another_size(encoders, family):
    encoder, x = encoders(family), pictures(32)
    order = torch.arange(16).expand(2, -1)
    close(encoder.tokens(x, order), encoder.tokens(x))
    assert encoder.tokens(x, order[:, :3]).shape[1] == encoder.prefix + 3


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_map_of_one_position_learns_in_bf16_what_it_learns_in_fp32(layout):
    """torch leaves the padding's part of the gradient unwritten there; all of it but the kernel's centre is zero."""
    torch.manual_seed(0)
    encoder, x = Encoder("resnet10t", size=32).to(memory_format=layout), pictures(16, count=64)
    weight = encoder.net.layer4[0].conv1.weight
    torch.nn.init.ones_(encoder.net.layer4[0].bn2.weight)  # timm begins at zero: no gradient would come through
    found = {}
    for half in (False, True):
        encoder.zero_grad()
        waste = [torch.full_like(weight, 1e18).bfloat16() for _ in range(4)]
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            out = encoder(x.contiguous(memory_format=layout))
        del waste
        out.float().square().sum().backward()
        found[half] = weight.grad.clone()
    centre = torch.zeros_like(weight, dtype=torch.bool)
    centre[:, :, 1, 1] = True
    assert found[True][centre].any()
    assert (found[True][~centre] == 0).all()
    assert (found[True] - found[False]).norm() < 0.3 * found[False].norm()


def test_sizes_that_cannot_be_taken():
    with pytest.raises(InputError, match="multiple of 8, got 62; nearest: 64"):
        Encoder(VIT, size=62)
    with pytest.raises(InputError, match="multiple of 16, got 40; nearest: 32"):
        Encoder(FAMILIES["xcit"], size=40)
    with pytest.raises(InputError, match="multiple of 4, got 30; nearest: 32"):
        Encoder(SWIN, size=30)
    with pytest.raises(InputError, match="multiple of 32, got 10; nearest: 32"):
        Encoder("mixer_s32_224", size=10)
    with pytest.raises(InputError, match="does not work on pictures of size 32"):
        Encoder("inception_v3", size=32)
    for size in (0, -1, 1.5, True, "64"):
        with pytest.raises(InputError, match="whole number"):
            Encoder(VIT, size=size)


def test_pictures_that_do_not_fit_are_refused(encoders):
    with pytest.raises(InputError, match="multiple of 8, got 60; nearest: 64"):
        encoders("vit")(pictures(60))
    with pytest.raises(InputError, match="size 64 and takes no other, got 32"):
        encoders("mixer")(pictures(32))
    with pytest.raises(InputError, match=r"takes pictures \[B, 3, S, S\], got \[2, 1, 64, 64\]"):
        encoders("vit")(pictures(channels=1))


@pytest.mark.parametrize("size", [16, 32, 48])
@torch.no_grad()
def test_windows_larger_than_the_picture_shrink(size):
    encoder = Encoder(SWIN, size=size).eval()
    assert encoder(pictures(size)).isfinite().all()


@every_family
@torch.no_grad()
def test_one_channel(family):
    size = 32
    encoder = Encoder(FAMILIES[family], size=size, channels=1).eval()
    assert encoder(pictures(size, channels=1)).shape == (2, encoder.width)


def test_the_size_in_the_text_wins():
    encoder = Encoder("vit_tiny_patch16_224(img_size=32, patch_size=4, depth=1)")
    assert (encoder.size, encoder.patches) == (32, 64)
    assert encoder.model == "vit_tiny_patch16_224(patch_size=4, depth=1)"


def test_unknown_models_and_settings():
    with pytest.raises(InputError, match=r"no model named 'resent18'; did you mean .*'resnet18'"):
        Encoder("resent18")
    with pytest.raises(InputError, match="no model named"):
        Encoder("hf-hub:timm/resnet18")
    with pytest.raises(InputError, match="patchsize"):
        Encoder("vit_tiny_patch16_224(patchsize=4)")
    with pytest.raises(InputError, match="it fixes 'patch_size', so it cannot be set"):
        Encoder("mixer_s32_224(patch_size=4)", size=32)
    with pytest.raises(InputError, match="nothing is downloaded"):
        Encoder("resnet18(pretrained=True)")
    with pytest.raises(InputError, match="channels="):
        Encoder("resnet18(in_chans=1)")
    with pytest.raises(InputError, match="channels must be 1 or 3"):
        Encoder("resnet18", channels=2)
    with pytest.raises(InputError, match="gives no pooled features"):
        Encoder("resnet10t(global_pool='')", size=32)
    with pytest.raises(InputError, match="expected 'name'"):
        Encoder("resnet18(1)")


def test_names():
    assert "resnet18" in names()
    assert all(name.startswith("xcit_") for name in names("xcit_*"))


def test_nothing_asks_the_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    Encoder("resnet10t", size=32)
    Encoder("vit_tiny_patch16_224.augreg_in21k(depth=1)", size=32)


def test_drop_path():
    rates = [m.drop_prob for m in Encoder(VIT, size=32, drop_path=0.2).modules() if hasattr(m, "drop_prob")]
    assert max(rates) == pytest.approx(0.2)
    assert not [m for m in Encoder(SWIN, size=32).modules() if getattr(m, "drop_prob", 0)]  # timm's default is 0.1
    assert [m for m in Encoder("resnet10t", size=32, drop_path=0.1).modules() if getattr(m, "drop_prob", 0)]
    with pytest.raises(InputError, match="no stochastic depth"):
        Encoder("densenet121", size=32, drop_path=0.1)
    with pytest.raises(InputError, match="0 to below 1"):
        Encoder(VIT, size=32, drop_path=1.0)


@every_family
def test_layers_grow_with_depth(encoders, family):
    encoder = encoders(family)
    layer = {name: encoder.layer_of(name) for name, _ in encoder.named_parameters()}

    assert set(layer.values()) | {encoder.layers} == set(range(encoder.layers + 1))
    numbered: dict[tuple[int, ...], set[int]] = {}
    for name, number in layer.items():
        path = name.split(".")[1:]
        if path[0] in ("blocks", "layers") and "downsample" not in path[:3]:
            block = tuple(int(part) for part in path[1:4] if part.isdigit())[: 1 if path[2].isalpha() else 2]
            if path[0] == "layers":
                block = (int(path[1]), int(path[3]))
            numbered.setdefault(block, set()).add(number)
    found = [numbered[block] for block in sorted(numbered)]
    assert all(len(numbers) == 1 for numbers in found)
    depths = [min(numbers) for numbers in found]
    assert depths == sorted(set(depths))


def test_layers_of_a_transformer_and_of_a_resnet(encoders):
    vit = encoders("vit")
    assert vit.layers == 3
    assert [
        vit.layer_of(f"net.{name}")
        for name in (
            "cls_token",
            "pos_embed",
            "patch_embed.proj.weight",
            "blocks.0.norm1.weight",
            "blocks.1.mlp.fc2.bias",
        )
    ] == [0, 0, 0, 1, 2]
    assert vit.layer_of("net.norm.weight") == vit.layers
    assert encoders("deit distilled").layer_of("net.dist_token") == 0
    average = encoders("vit average")
    assert average.layer_of("net.fc_norm.weight") == average.layers == 3

    resnet = encoders("resnet18")
    assert resnet.layers == 9  # eight blocks; only a head can be at 9, since nothing follows the last block
    assert resnet.layer_of("net.conv1.weight") == 0
    assert resnet.layer_of("net.layer4.1.conv2.weight") == 8
    with pytest.raises(InputError, match=r"did you mean 'net\.conv1\.weight'"):
        resnet.layer_of("net.conv1.weights")


@pytest.mark.parametrize("channels", [1, 3])
@torch.no_grad()
def test_patches_are_averaged_here_and_in_timm(channels, tmp_path):
    torch.manual_seed(0)
    encoder = Encoder(VIT, size=SIZE, channels=channels).eval()
    x = torch.randn(2, channels, SIZE, SIZE)
    token = encoder(x)
    encoder.average_patches()
    mean = encoder(x)
    torch.testing.assert_close(mean, encoder.tokens(x)[:, 1:].mean(1))
    assert not torch.allclose(mean, token, atol=0.1)
    encoder.average_patches()
    assert encoder.model.count("avg") == 1
    kept = encoder.save(tmp_path)
    assert torch.equal(Encoder.load(kept).eval()(x), mean)
    torch.testing.assert_close(timm.create_model(f"local-dir:{kept}", pretrained=True).eval()(x), mean)


@pytest.mark.parametrize("family", ["vit average", "swin", "resnet18"])
def test_models_that_average_already_stay_as_they_are(family):
    encoder = Encoder(FAMILIES[family], size=SIZE)
    before = encoder.model, dict(encoder.arguments)
    encoder.average_patches()
    assert (encoder.model, encoder.arguments) == before


@torch.no_grad()
def test_a_second_network_is_averaged_too(tmp_path):
    encoder = Encoder(VIT, size=SIZE)
    encoder.add_colour()
    encoder.average_patches()
    x = torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    torch.testing.assert_close(encoder.eval()(x), encoder.tokens(x)[:, 1:].mean(1))
    assert torch.equal(Encoder.load(encoder.save(tmp_path)).eval()(x), encoder(x))


def test_parameters_without_weight_decay(encoders):
    assert encoders("vit").undecayed == {"net.cls_token", "net.pos_embed"}
    assert encoders("deit distilled").undecayed == {"net.cls_token", "net.dist_token", "net.pos_embed"}
    assert encoders("resnet18").undecayed == set()
    swin = encoders("swin")
    assert len(swin.undecayed) == 5
    assert all(name.endswith("relative_position_bias_table") for name in swin.undecayed)
    for family in FAMILIES:
        assert encoders(family).undecayed <= dict(encoders(family).named_parameters()).keys()


@pytest.mark.parametrize(("family", "count"), [("resnet18", 5), ("vit", 2), ("swin", 4), ("mixer", 8)])
@torch.no_grad()
def test_feature_maps(encoders, family, count):
    maps = encoders(family).maps(pictures())
    assert len(maps) == count
    assert all(m.ndim == 4 and len(m) == 2 and m.shape[2] == m.shape[3] for m in maps)
    sides = [m.shape[-1] for m in maps]
    assert sides == sorted(sides, reverse=True)


@torch.no_grad()
def test_copies_and_seeds(encoders):
    encoder, x = encoders("vit"), pictures()
    assert all(name.startswith("net.") for name in encoder.state_dict())
    for twin in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        assert torch.equal(twin(x), encoder(x))
        assert twin.layer_of("net.norm.weight") == encoder.layers
    torch.manual_seed(0)
    assert torch.equal(Encoder(VIT, size=SIZE).eval()(x), encoder(x))
    assert not torch.equal(Encoder(VIT, size=SIZE).eval()(x), encoder(x))
    assert Encoder(VIT, size=SIZE).training


@pytest.mark.parametrize("family", ["resnet18", "vit", "swin", "deit distilled", "efficientnetv2"])
@torch.no_grad()
def test_what_is_saved_is_what_timm_reads(encoders, family, tmp_path):
    encoder, x = encoders(family), pictures()
    folder = encoder.save(tmp_path / "encoder")
    config = json.loads((folder / "config.json").read_text())

    file = folder / "model.safetensors"
    ours = timm.create_model(config["architecture"], num_classes=0, **config["model_args"], checkpoint_path=str(file))
    assert torch.equal(ours.eval()(x), encoder(x))
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


@torch.no_grad()
def test_a_small_vit_is_read_by_timm_with_plain_arguments(tmp_path):
    encoder = Encoder("vit_tiny_patch16_224(patch_size=4, depth=2)", size=32, channels=1).eval()
    file = encoder.save(tmp_path) / "model.safetensors"
    arguments = {"img_size": 32, "patch_size": 4, "depth": 2, "in_chans": 1, "num_classes": 0}
    theirs = timm.create_model("vit_tiny_patch16_224", **arguments, checkpoint_path=str(file)).eval()
    x = pictures(32, channels=1)
    close(theirs(x), encoder(x))


@pytest.mark.parametrize("family", ["resnet10t", "efficientnetv2", "vit average", "deit distilled", "swin", "xcit"])
@torch.no_grad()
def test_a_classifier_is_saved_as_timms_own(encoders, family, tmp_path):
    encoder, x = encoders(family), pictures()
    head = torch.nn.Linear(encoder.width, 3)
    random = torch.get_rng_state()
    folder = encoder.save(tmp_path / "classifier", head=head, classes=["ant", "bee", "wäsp"])
    assert torch.equal(torch.get_rng_state(), random)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (config["num_classes"], config["label_names"]) == (3, ["ant", "bee", "wäsp"])

    file = folder / "model.safetensors"
    theirs = timm.create_model(config["architecture"], num_classes=3, **config["model_args"], checkpoint_path=str(file))
    close(theirs.eval()(x), head(encoder(x)))
    close(Encoder.load(folder).eval()(x), encoder(x))
    with pytest.raises(InputError, match="no place"):
        encoder.save(tmp_path / "wrong", head=torch.nn.Linear(encoder.width + 1, 3))


@torch.no_grad()
def test_timm_finds_a_saved_folder_by_itself(encoders, tmp_path):
    encoder, x = encoders("vit"), pictures()
    found = timm.create_model(f"local-dir:{encoder.save(tmp_path / 'encoder')}", pretrained=True).eval()
    close(found(x), encoder(x))


@pytest.mark.parametrize("family", ["resnet18", "vit", "swin", "mixer"])
@torch.no_grad()
def test_load_gives_the_same_encoder(encoders, family, tmp_path):
    encoder, x = encoders(family), pictures()
    run = tmp_path / "run with späces"
    encoder.save(run / "encoder")
    for path in (run, run / "encoder", str(run), run / "encoder" / "model.safetensors"):
        loaded = Encoder.load(path, drop_path=0.0).eval()
        assert torch.equal(loaded(x), encoder(x))
    kept = ("model", "size", "channels", "width", "patch", "mean", "std", "arguments")
    assert [getattr(loaded, key) for key in kept] == [getattr(encoder, key) for key in kept]


@torch.no_grad()
def test_load_at_another_size(encoders, tmp_path):
    encoder = encoders("vit")
    loaded = Encoder.load(encoder.save(tmp_path / "vit"), size=32).eval()
    assert (loaded.size, loaded.patches) == (32, 16)
    close(loaded(pictures(32)), encoder(pictures(32)))  # the same resampling as at each forward

    swin = encoders("swin")
    windows = [
        [b.attn.relative_position_bias_table.shape[0] for s in e.net.layers for b in s.blocks]
        for e in (swin, Encoder.load(swin.save(tmp_path / "swin"), size=32))
    ]
    assert windows == [[169, 169, 49, 49, 9], [169, 49, 9, 9, 1]]

    with pytest.raises(InputError, match="of another shape"):
        Encoder.load(encoders("mixer").save(tmp_path / "mixer"), size=32)


@pytest.mark.parametrize("family", ["resnet10t", "efficientnetv2", "vit", "xcit", "swin", "gmlp"])
@torch.no_grad()
def test_load_with_other_channels(family, tmp_path):
    grey, colour = pictures(channels=1), pictures(channels=3)
    trained = Encoder(FAMILIES[family], size=SIZE).eval()
    reduced = Encoder.load(trained.save(tmp_path / "colour"), channels=1).eval()
    close(reduced(grey), trained(grey.expand(-1, 3, -1, -1)), 1e-4)

    trained = Encoder(FAMILIES[family], size=SIZE, channels=1).eval()
    widened = Encoder.load(trained.save(tmp_path / "grey"), channels=3).eval()
    close(widened(grey.expand(-1, 3, -1, -1)), trained(grey), 1e-4)
    assert widened(colour).shape == (2, trained.width)


def test_normalisation_travels_with_the_encoder(tmp_path):
    encoder = Encoder("resnet10t", size=32)
    encoder.mean, encoder.std = (0.4, 0.5, 0.6), 0.25
    folder = encoder.save(tmp_path)
    assert (Encoder.load(folder).mean, Encoder.load(folder).std) == ((0.4, 0.5, 0.6), 0.25)
    assert Encoder.load(folder, channels=1).mean == pytest.approx(0.5)


def test_saving_again_replaces_and_leaves_other_files_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    Encoder(VIT, size=32).save(tmp_path)
    second = Encoder(VIT, size=32)
    second.save(tmp_path)
    assert torch.equal(Encoder.load(tmp_path).net.pos_embed, second.net.pos_embed)
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_damage_is_noticed(encoders, tmp_path):
    folder = encoders("vit").save(tmp_path)
    file, config = folder / "model.safetensors", folder / "config.json"
    content, text = file.read_bytes(), config.read_text()

    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (bytes(flipped), content[:-1], content[: len(content) // 2], content[:8], b""):
        file.write_bytes(damaged)
        with pytest.raises(CorruptError, match="not what was written"):
            Encoder.load(folder)

    file.write_bytes(content)
    for damaged in (
        "",
        text[:-10],
        "[]",
        "{}",
        text.replace('"sha256"', '"sha"'),
        text.replace('"size": 64', '"size": "64"'),
    ):
        config.write_text(damaged)
        with pytest.raises(CorruptError, match=r"config\.json"):
            Encoder.load(folder)
    config.write_text(text.replace('"format": 1', '"format": 5'))
    with pytest.raises(InputError, match="upgrade"):
        Encoder.load(folder)
    config.write_text(text)
    Encoder.load(folder)


def test_places_without_an_encoder(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Encoder.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has no encoder"):
        Encoder.load(tmp_path)
    (tmp_path / "x.pth").write_bytes(b"")
    with pytest.raises(InputError, match="give model="):
        Encoder.load(tmp_path / "x.pth")
