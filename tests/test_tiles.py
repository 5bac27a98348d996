"""Tiles of a picture: where they are cut, that they vary, and that their order is every sample's own."""

import pytest
import torch

from firstlight.errors import InputError
from firstlight.parts.tiles import cut, shuffled, tile_side

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
    ("side", "multiple", "tile"), [(255, 1, 64), (255, 16, 64), (36, 1, 9), (40, 8, 8), (48, 16, 16), (30, 4, 8)]
)
def test_tiles_are_three_quarters_of_a_cell(side, multiple, tile):
    assert tile_side(side, 3, multiple) == tile


def test_a_cell_without_room_is_refused():
    with pytest.raises(InputError, match=r"40 px has 3x3 cells of 13 px, and a tile needs 16.*48 px"):
        tile_side(40, 3, 16)


def test_each_sample_has_its_own_order():
    rows = torch.arange(9.0).view(1, 9, 1).expand(400, 9, 2)
    mixed = shuffled(rows, KEY)
    assert torch.equal(mixed.sort(1).values, rows)
    assert len(mixed[..., 0].unique(dim=0)) > 390
    assert torch.equal(shuffled(rows[3:5], KEY[3:5]), mixed[3:5])
    assert (mixed[..., 0].mean(0) - 4).abs().max() < 0.6, "every place gets every tile (5 standard errors)"
