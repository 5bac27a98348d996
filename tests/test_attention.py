"""Attention taken out of timm's blocks: equal to what timm computes itself, and which heads matter."""

import pytest
import torch

import tiny
from firstlight.encoder import Encoder
from firstlight.errors import InputError
from firstlight.parts.attention import divergence, heads_of, importance, with_attention
from firstlight.parts.frozen import Frozen


def encoder(model: str = tiny.VIT) -> Encoder:
    torch.manual_seed(0)
    return tiny.filled(Encoder(model, size=tiny.SIZE)).eval()


@pytest.fixture
def unfused(monkeypatch):
    """timm's own attention, computed in the open: the softmax's input and output can be caught."""
    caught = []

    def softmax(x, dim=None, **_):
        caught.append(torch.exp(x - x.logsumexp(dim, keepdim=True)))
        return caught[-1]

    def use(given: Encoder):
        for block in given.net.blocks:
            block.attn.fused_attn = False
        monkeypatch.setattr(torch.Tensor, "softmax", softmax)
        return caught

    return use


@pytest.mark.parametrize("model", [tiny.VIT, tiny.VIT.replace(")", ", qk_norm=True)")])
@pytest.mark.parametrize("block", [0, -1])
def test_attention_is_what_timm_computes(model, block, unfused):
    given, pictures = encoder(model).double(), torch.randn(3, 3, 32, 32, dtype=torch.float64)
    features, attention = with_attention(given, pictures, block)
    torch.testing.assert_close(features, given(pictures), rtol=0, atol=1e-12)
    caught = unfused(given)
    given(pictures)
    torch.testing.assert_close(attention.exp(), caught[block], rtol=0, atol=1e-9)
    assert attention.shape == (3, 2, 17, 17)
    assert not given.net.blocks[block].attn._forward_pre_hooks, "nothing stays behind"


def test_gradients_flow_through_features_and_attention():
    given, pictures = encoder(), torch.randn(2, 3, 32, 32)
    _, attention = with_attention(given, pictures)
    attention.exp().square().sum().backward()
    assert given.net.blocks[-1].attn.qkv.weight.grad.abs().sum() > 0
    assert given.net.patch_embed.proj.weight.grad.abs().sum() > 0


def test_importance_is_what_a_head_adds():
    given, pictures = encoder().double(), torch.randn(4, 3, 32, 32, dtype=torch.float64)
    layer = given.net.blocks[-1].attn
    out = tiny.outputs(layer)
    given(pictures)
    norms = []
    for head in range(2):  # what is missing when all other heads are silent, but for the bias
        kept = layer.proj.weight.detach().clone()
        with torch.no_grad():
            layer.proj.weight.zero_()
            layer.proj.weight[:, 24 * head : 24 * head + 24] = kept[:, 24 * head : 24 * head + 24]
        given(pictures)
        norms.append((out[-1] - layer.proj.bias).norm(dim=-1).mean())
        with torch.no_grad():
            layer.proj.weight.copy_(kept)
    torch.testing.assert_close(importance(given, pictures), torch.stack(norms), rtol=1e-9, atol=0)


def test_divergence_is_kullbacks_and_leiblers():
    p, q = torch.randn(2, 3, 2, 5, 5, dtype=torch.float64).log_softmax(-1)
    expected = torch.nn.functional.kl_div(q, p, log_target=True, reduction="sum") / (3 * 2 * 5)
    assert divergence(p, q).item() == pytest.approx(expected.item(), abs=1e-12)
    assert divergence(p, p).item() == 0


@pytest.mark.parametrize("model", [tiny.RESNET, "mixer_s32_224"])
def test_models_without_attention_are_refused(model):
    with pytest.raises(InputError, match="choose a Vision Transformer"):
        heads_of(Encoder(model, size=32))


def test_a_frozen_encoder_sees_pictures_as_it_was_trained_on_them(tmp_path):
    kept = encoder()
    kept.mean, kept.std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    kept.save(tmp_path)
    like = encoder()
    frozen = Frozen(str(tmp_path), like).train()
    assert not frozen.encoder.training
    assert not any(p.requires_grad for p in frozen.parameters())
    x = torch.rand(2, 3, 32, 32)
    seen = frozen.normalised((x - 0.5) / 0.5)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (kept.mean, kept.std))
    torch.testing.assert_close(seen, (x - mean) / std)
    torch.testing.assert_close(frozen.encoder(seen), kept((x - mean) / std))
