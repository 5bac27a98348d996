"""Autoencoder: the mean squared error of the clean picture, from the features alone; what masking and noise do."""

import pytest
import torch

import tiny
from firstlight.errors import InputError
from firstlight.views.random import Salt, normal, uniforms
from parity import equal, precisions

NOISES = [{}, {"noise": 0.3}, {"noise": 0.2, "corruption": "gaussian"}]


@pytest.mark.parametrize("settings", NOISES)
@precisions
def test_the_loss_and_its_gradient_are_of_the_clean_picture(dtype, settings):
    method = tiny.build("autoencoder", tiny.RESNET, **settings).to(dtype)
    batch = tiny.batch(method, samples=3)
    painted = tiny.outputs(method.painter)
    loss = method(batch, 0.0)["loss"]
    loss.backward()
    guess, clean = painted[0].detach().double().numpy(), batch.views[0].double().numpy()
    assert guess.shape == clean.shape == (3, 3, 32, 32)
    equal(loss, ((guess - clean) ** 2).sum() / clean.size)
    equal(painted[0].grad, 2 * (guess - clean) / clean.size)


def test_everything_passes_through_the_features():
    method = tiny.build("autoencoder")
    seen = []
    method.painter.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    method(tiny.batch(method), 0.0)
    ((features,),) = seen
    assert features.shape == (4, method.encoder.width)


def test_masking_hides_a_share_of_the_pixels_with_all_their_channels():
    method = tiny.build("autoencoder", noise=0.3)
    pictures = torch.rand(64, 3, 32, 32) + 0.5
    key = torch.arange(64)
    spoilt = method.spoilt(pictures, key)
    hidden = spoilt[:, 0] == 0
    assert torch.equal(hidden.flatten(1), uniforms(key, 1024, Salt.CORRUPT) < 0.3)
    assert torch.equal(spoilt, pictures * ~hidden[:, None])
    assert hidden.float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert torch.equal(method.spoilt(pictures[5:6], key[5:6])[0], spoilt[5]), "each picture's own"


@pytest.mark.parametrize(("channels", "std"), [(3, 0.5), (3, (0.1, 0.2, 0.4)), (1, 0.25)])
def test_gaussian_noise_is_in_units_of_the_pictures(channels, std):
    method = tiny.build("autoencoder", channels=channels, noise=0.2, corruption="gaussian")
    method.encoder.std = std
    key = torch.arange(16)
    clean = torch.zeros(16, channels, 32, 32)
    added = method.spoilt(clean, key) * torch.tensor(std).view(-1, 1, 1)
    expected = 0.2 * normal(key, channels * 1024, Salt.CORRUPT).view_as(clean)
    torch.testing.assert_close(added, expected)
    assert added.std().item() == pytest.approx(0.2, abs=0.005)


def test_without_noise_the_picture_is_seen_as_it_is():
    method = tiny.build("autoencoder")
    picture = torch.rand(2, 3, 32, 32)
    assert method.spoilt(picture, torch.arange(2)) is picture


@pytest.mark.parametrize("settings", NOISES)
def test_people_see_what_was_seen_and_painted(settings):
    method = tiny.build("autoencoder", **settings).eval()
    batch = tiny.batch(method)
    shown = method.reconstruct(batch)
    assert list(shown) == (["picture", "spoilt", "predicted"] if settings else ["picture", "predicted"])
    error = (shown["predicted"] - batch.views[0]).square().mean()
    torch.testing.assert_close(error, method(batch, 0.0)["loss"])


@pytest.mark.parametrize(
    "settings", [{"noise": -0.1}, {"noise": 1.0}, {"noise": 1.5, "corruption": "gaussian"}, {"width": 0}]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match=r"autoencoder.*(nearest|try)"):
        tiny.build("autoencoder", **settings)


def test_unknown_corruptions_are_refused():
    with pytest.raises(InputError, match="one of 'masking', 'gaussian'"):
        tiny.build("autoencoder", corruption="salt")


def test_it_learns_pictures_by_heart():
    method = tiny.build("autoencoder", tiny.RESNET, noise=0.2)
    losses, pictures = tiny.learned_ramps(method)
    assert losses[-1] < 0.3 * pictures.var() < losses[0]


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("autoencoder", tiny.RESNET)).double())
    assert losses == pytest.approx([0.864260, 0.665608, 0.621383], abs=1e-4)
