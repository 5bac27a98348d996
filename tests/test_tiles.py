"""Tiles of a picture: where they are cut, that they vary, and that their order is every sample's own."""

from types import SimpleNamespace

import pytest
import torch

from firstlight.errors import InputError
from firstlight.parts.tiles import SHARE, cut, enlarged, shuffled, tile_side
from firstlight.views import View
from firstlight.views.batches import side_of

KEY = torch.arange(400) * 7919


def ramp(batch: int, side: int) -> torch.Tensor:
    """Pictures whose pixels say where they are: row in the first channel, column in the second."""
    line = torch.arange(float(side))
    picture = torch.stack([line[:, None].expand(side, side), line[None].expand(side, side), torch.zeros(side, side)])
    return picture.expand(batch, -1, -1, -1)


def test_every_tile_lies_in_its_cell_somewhere():
    tiles = cut(ramp(400, 30), KEY)
    assert tiles.shape == (400, 9, 3, 8, 8)
    corner = tiles[:, :, :2, 0, 0]  # row and column of the upper left pixel
    cells = torch.tensor([[10.0 * (n // 3), 10.0 * (n % 3)] for n in range(9)])
    offset = corner - cells
    assert offset.min() == 0
    assert offset.max() == 2
    for value in (0, 1, 2):
        assert ((offset == value).float().mean((0, 2)) - 1 / 3).abs().max() < 0.1
    inside = tiles - tiles[..., :1, :1]
    torch.testing.assert_close(inside[:, :, :2], ramp(1, 8)[:, None, :2].expand_as(inside[:, :, :2]))


def test_a_samples_tiles_do_not_depend_on_its_neighbours():
    pictures = torch.randn(6, 3, 30, 30)
    assert torch.equal(cut(pictures, KEY[:6])[2:4], cut(pictures[2:4], KEY[2:4]))
    assert not torch.equal(cut(pictures[:1], KEY[:1]), cut(pictures[:1], KEY[1:2]))


def test_other_grids_and_gradients():
    pictures = torch.randn(2, 1, 8, 8, requires_grad=True)
    tiles = cut(pictures, KEY[:2], grid=2)
    assert tiles.shape == (2, 4, 1, 3, 3)
    tiles.sum().backward()
    assert pictures.grad.sum() == 2 * 4 * 9


@pytest.mark.parametrize(
    ("side", "multiple", "tile"), [(255, 1, 64), (255, 16, 64), (36, 1, 9), (40, 8, 8), (57, 16, 16), (30, 4, 8)]
)
def test_tiles_are_three_quarters_of_a_cell(side, multiple, tile):
    assert tile_side(side, 3, multiple) == tile


@pytest.mark.parametrize(("side", "multiple"), [(96, 16), (99, 16), (192, 32), (64, 16)])
def test_large_patches_leave_a_gap(side, multiple):
    """The nearest multiple of the patch would be the whole cell, and lines would go on from tile to tile."""
    assert side // 3 - tile_side(side, 3, multiple) >= 0.12 * (side // 3)


@pytest.mark.parametrize("side", [40, 48, 53])
def test_a_cell_without_room_is_refused(side):
    with pytest.raises(InputError, match=rf"{side} px has 3x3 cells of {side // 3} px, and a tile needs 16 and.*57 px"):
        tile_side(side, 3, 16)
    assert tile_side(57, 3, 16) == 16


@pytest.mark.parametrize("share", [SHARE, 2 / 3, 1 / 3])
@pytest.mark.parametrize("size", [32, 48, 64, 80, 96, 160, 224])
@pytest.mark.parametrize("multiple", [1, 2, 4, 7, 8, 16, 32])
def test_shown_pictures_are_large_enough_for_tiles_and_gaps(size, multiple, share):
    encoder = SimpleNamespace(model="any", any_size=True, multiple=multiple, size=size)
    view = enlarged(View(size=255 / 224), 16, encoder, "jigsaw", share=share)
    side = side_of(view, size, multiple)
    tile = tile_side(side, 3, multiple, share)
    assert tile >= 0.9 * max(16, multiple)
    assert side // 3 - tile >= 0.4 * (1 - share) * (side // 3)


@pytest.mark.parametrize("tile", [114, 4096])
def test_tiles_far_larger_than_pictures_are_refused(tile):
    encoder = SimpleNamespace(model="any", any_size=True, multiple=1, size=32)
    assert enlarged(View(), 113, encoder, "context", share=2 / 3).size == pytest.approx(16, rel=0.01)
    with pytest.raises(InputError, match=rf"context\(tile={tile}\).*32 px.*allowed is up to 512; nearest: tile=113"):
        enlarged(View(), tile, encoder, "context", share=2 / 3)


def test_each_sample_has_its_own_order():
    rows = torch.arange(9.0).view(1, 9, 1).expand(400, 9, 2)
    mixed = shuffled(rows, KEY)
    assert torch.equal(mixed.sort(1).values, rows)
    assert len(mixed[..., 0].unique(dim=0)) > 390
    assert torch.equal(shuffled(rows[3:5], KEY[3:5]), mixed[3:5])
    assert (mixed[..., 0].mean(0) - 4).abs().max() < 0.6, "every place gets every tile (5 standard errors)"
