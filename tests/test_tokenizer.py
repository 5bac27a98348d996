"""Tokenizers: Gumbel noise, what a dvae leaves behind, DALL-E's public encoder by its names, and what is refused."""

import json
import math

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

import tiny
from firstlight.encoder import Encoder
from firstlight.errors import CorruptError, InputError
from firstlight.parts import dalle
from firstlight.parts.tokenizer import Tokenizer
from firstlight.parts.unfolding import Unfolding, squeezed, unsqueezed
from firstlight.views.random import gumbel, uniforms

KEYS = torch.arange(2000)


def test_gumbel_noise_draws_from_the_softmax_and_is_never_infinite():
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0, 0.5])
    noise = gumbel(KEYS, 5 * 20, 60).view(-1, 5)
    drawn = (logits + noise).argmax(1).bincount(minlength=5) / len(noise)
    torch.testing.assert_close(drawn, logits.softmax(0), rtol=0, atol=0.01)
    assert noise.mean() == pytest.approx(0.5772, abs=0.01)
    assert noise.var() == pytest.approx(math.pi**2 / 6, abs=0.03)
    assert noise.isfinite().all()
    assert torch.equal(gumbel(KEYS[5:7], 5, 60), gumbel(KEYS, 5, 60)[5:7])
    assert -math.log(-math.log1p(-(1 - 2**-24))) > -2.9
    assert -math.log(2**-25) < 17.4


def test_pixels_are_moved_away_from_black_and_white_and_back():
    x = torch.tensor([0.0, 0.5, 1.0, 1.3])
    torch.testing.assert_close(squeezed(x), torch.tensor([0.1, 0.5, 0.9, 0.9]))
    torch.testing.assert_close(unsqueezed(squeezed(x)), x.clamp(0, 1))


@pytest.mark.parametrize(("stride", "depth"), [(1, 1), (2, 0), (7, 1), (8, 2), (14, 1)])
def test_every_position_becomes_a_square_of_pixels(stride, depth):
    net = Unfolding(12, 5, stride, depth=depth)
    assert net(torch.zeros(2, 12, 3, 3)).shape == (2, 5, 3 * stride, 3 * stride)


def public(hidden: int = 8, codes: int = 20) -> dict[str, torch.Tensor]:
    """Random weights under the names of the public encoder."""
    shapes = {"blocks.input": (hidden, 3, 7)}
    entry = hidden
    for group in range(1, 5):
        width = hidden * 2 ** (group - 1)
        for block in (1, 2):
            name = f"blocks.group_{group}.block_{block}"
            if entry != width:
                shapes[f"{name}.id_path"] = (width, entry, 1)
            for number, (out, come, kernel) in enumerate(
                [
                    (width // 4, entry, 3),
                    (width // 4, width // 4, 3),
                    (width // 4, width // 4, 3),
                    (width, width // 4, 1),
                ]
            ):
                shapes[f"{name}.res_path.conv_{number + 1}"] = (out, come, kernel)
            entry = width
    shapes["blocks.output.conv"] = (codes, entry, 1)
    found = {}
    for place, (name, (out, come, kernel)) in enumerate(shapes.items()):
        values = uniforms(torch.arange(out), come * kernel**2 + 1, place) - 0.5
        found[f"{name}.w"] = (values[:, 1:] * (12 / (come * kernel**2)) ** 0.5).reshape(out, come, kernel, kernel)
        found[f"{name}.b"] = values[:, 0].clone()
    return found


def written_out(weights: dict[str, torch.Tensor], pictures: torch.Tensor) -> torch.Tensor:
    """The public encoder as one function of its named weights."""

    def convolved(name, x):
        kernel = weights[f"{name}.w"]
        return F.conv2d(x, kernel, weights[f"{name}.b"], padding=(kernel.shape[-1] - 1) // 2)

    x = convolved("blocks.input", pictures * (1 - 2 * 0.1) + 0.1)
    for group in (1, 2, 3, 4):
        for block in (1, 2):
            name = f"blocks.group_{group}.block_{block}"
            change = x
            for number in (1, 2, 3, 4):
                change = convolved(f"{name}.res_path.conv_{number}", change.clamp(min=0))
            x = (convolved(f"{name}.id_path", x) if f"{name}.id_path.w" in weights else x) + change / 64
        x = F.max_pool2d(x, 2) if group < 4 else x
    return convolved("blocks.output.conv", x.clamp(min=0))


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_dalles_encoder_is_the_public_one(tmp_path, ending):
    weights, file = public(), tmp_path / f"encoder.{ending}"
    torch.save(weights, file) if ending == "pt" else safetensors.torch.save_file(weights, file)
    net = dalle.read(file)
    pictures = uniforms(KEYS[:2], 3 * 48 * 48, 1).view(2, 3, 48, 48)
    expected = written_out(weights, pictures)
    torch.testing.assert_close(net(pictures), expected.permute(0, 2, 3, 1).reshape(2, 36, 20), rtol=0, atol=1e-5)

    like = Encoder(tiny.VIT, size=tiny.SIZE)
    like.mean, like.std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    tokenizer = Tokenizer(str(file), like)
    assert (tokenizer.side, tokenizer.count, tokenizer.decodes) == (32, 20, False)
    pictures = pictures[..., :32, :32]
    normalised = (pictures - torch.tensor(like.mean).view(3, 1, 1)) / torch.tensor(like.std).view(3, 1, 1)
    assert torch.equal(tokenizer(normalised), written_out(weights, pictures).argmax(1).flatten(1))


def test_the_public_size():
    with torch.device("meta"):
        net = dalle.DallE()
        assert net(torch.empty(1, 3, 112, 112)).shape == (1, 14 * 14, 8192)
    shapes = {name.replace(".weight", ".w").replace(".bias", ".b"): p.shape for name, p in net.named_parameters()}
    assert list(shapes) == list(public())
    assert shapes["blocks.input.w"] == (256, 3, 7, 7)
    assert shapes["blocks.group_4.block_1.id_path.w"] == (2048, 1024, 1, 1)
    assert shapes["blocks.output.conv.w"] == (8192, 2048, 1, 1)


def test_dalles_pickled_module_is_refused_with_the_way_to_convert_it(tmp_path):
    for name in ("encoder.pkl", "encoder.pt"):
        torch.save(torch.nn.Linear(2, 2), tmp_path / name)
        with pytest.raises(InputError, match=r"state_dict\(\), 'encoder.pt'"):
            dalle.read(tmp_path / name)
    torch.save(public() | {"blocks.input.b": torch.zeros(9)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"does not hold DALL-E's encoder.*blocks\.input\.w"):
        dalle.read(tmp_path / "other.pt")
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"such as fc\.weight"):
        dalle.read(tmp_path / "other.pt")


def test_a_kept_dvae_gives_the_codes_that_it_gave():
    torch.manual_seed(0)
    method = tiny.filled(tiny.build("dvae"), start=sum(b"tokenizer")).eval()
    like = Encoder(tiny.VIT, size=tiny.SIZE)
    tokenizer = Tokenizer(tiny.tokenizer(), like)
    picture = tiny.batch(method).views[0]
    wanted = method.codes.logits(method.encoder.tokens(picture)[:, 1:]).argmax(-1)
    assert torch.equal(tokenizer(picture), wanted)
    assert len(wanted.unique()) > 3
    assert tokenizer.decodes
    shown = method.reconstruct(tiny.batch(method))["decoded"]
    torch.testing.assert_close(tokenizer.pictures(wanted), shown, rtol=0, atol=1e-5)

    assert not any(p.requires_grad for p in tokenizer.parameters())
    assert not any(module.training for module in tokenizer.train().modules())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(tokenizer(picture), wanted), "never in half precision"


@pytest.mark.parametrize(("patch", "size"), [(4, 32), (8, 48), (16, 32)])
def test_it_makes_as_many_codes_as_the_student_has_tokens(patch, size):
    like = Encoder(tiny.VIT.replace("patch_size=8", f"patch_size={patch}"), size=size)
    tokenizer = Tokenizer(tiny.tokenizer(), like)
    assert tokenizer.side == size // patch * 8
    codes = tokenizer(torch.zeros(2, 3, size, size))
    assert codes.shape == (2, (size // patch) ** 2)
    assert tokenizer.pictures(codes).shape == (2, 3, size, size)


def test_grey_students_and_colour_tokenizers_understand_each_other():
    like = Encoder(tiny.VIT, size=tiny.SIZE, channels=1)
    tokenizer = Tokenizer(tiny.tokenizer(), like)
    grey = uniforms(KEYS[:2], 32 * 32, 3).view(2, 1, 32, 32) * 2 - 1
    coloured = Tokenizer(tiny.tokenizer(), Encoder(tiny.VIT, size=tiny.SIZE))
    assert torch.equal(tokenizer(grey), coloured(grey.expand(-1, 3, -1, -1)))
    assert tokenizer.pictures(tokenizer(grey)).shape == (2, 1, 32, 32)


def test_what_is_kept_is_verified(tmp_path):
    like = Encoder(tiny.VIT, size=tiny.SIZE)
    folder = tiny.build("dvae").keep(tmp_path / "run" / "encoder")
    Tokenizer(str(tmp_path / "run"), like)
    Encoder.load(folder)
    config, file = json.loads((folder / "config.json").read_text()), folder / "codes.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CorruptError, match="not what was written"):
        Tokenizer(str(folder), like)
    file.unlink()
    with pytest.raises(CorruptError, match=r"codes\.safetensors' is missing"):
        Tokenizer(str(folder), like)
    file.write_bytes(whole)
    for wrong in (config["codes"] | {"width": 31}, config["codes"] | {"width": -1}, config["codes"] | {"depth": "1"}):
        (folder / "config.json").write_text(json.dumps(config | {"codes": wrong}))
        with pytest.raises(CorruptError, match=r"codes\.safetensors"):
            Tokenizer(str(folder), like)
    tiny.build("dvae").encoder.save(folder)
    with pytest.raises(InputError, match=r"without codes.*pretrain --method dvae"):
        Tokenizer(str(folder), like)


@pytest.mark.parametrize(
    ("path", "message"), [("", "pretrain --method dvae"), ("/nowhere", "nowhere.* does not exist")]
)
def test_no_tokenizer_is_refused(path, message):
    with pytest.raises(InputError, match=message):
        Tokenizer(path, Encoder(tiny.VIT, size=tiny.SIZE))
