"""Spherical k-means against the textbook written out, and the clusters that are found anew each epoch."""

import math

import pytest
import torch
from torch import nn

from firstlight.errors import InputError
from firstlight.parts.clusters import Clusters
from firstlight.parts.kmeans import spherical_kmeans


def unit(rows: torch.Tensor) -> torch.Tensor:
    return nn.functional.normalize(rows, dim=-1)


def textbook(rows: list, centroids: list, iterations: int) -> tuple[list, list[int]]:
    """The algorithm in plain Python; an empty cluster keeps its centroid."""

    def nearest(row):
        return max(range(len(centroids)), key=lambda k: sum(x * y for x, y in zip(row, centroids[k])))

    for _ in range(iterations):
        labels = [nearest(row) for row in rows]
        for k in range(len(centroids)):
            mine = [row for row, label in zip(rows, labels) if label == k]
            if mine:
                total = [sum(values) for values in zip(*mine)]
                length = math.sqrt(sum(x * x for x in total))
                centroids[k] = [x / length for x in total]
    return centroids, [nearest(row) for row in rows]


@pytest.mark.parametrize("clusters", [1, 3, 9])
def test_it_is_the_textbooks(clusters):
    torch.manual_seed(clusters)
    rows = unit(torch.randn(40, 5, dtype=torch.float64))
    start, _ = spherical_kmeans(rows, clusters, iterations=0)
    assert all((row == rows).all(1).any() for row in start), "it begins with rows"
    assert len(start.unique(dim=0)) == clusters
    centroids, labels = spherical_kmeans(rows, clusters)
    expected, theirs = textbook(rows.tolist(), start.tolist(), 10)
    torch.testing.assert_close(centroids, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9)
    assert labels.tolist() == theirs


def test_it_finds_what_is_there():
    torch.manual_seed(0)
    centres = torch.eye(4, dtype=torch.float64)
    truth = torch.arange(200) % 4
    rows = unit(centres[truth] + 0.05 * torch.randn(200, 4, dtype=torch.float64))
    found = [spherical_kmeans(rows, 4, salt=(salt,)) for salt in range(20)]
    best = max(found, key=lambda pair: (rows * pair[0][pair[1]]).sum())
    assert all(len(truth[best[1] == cluster].unique()) == 1 for cluster in range(4))


def test_it_is_the_same_again_and_another_with_another_salt(monkeypatch):
    rows = unit(torch.randn(300, 6))
    first, again, other = (spherical_kmeans(rows, 12, salt=salt) for salt in ((1, 2), (1, 2), (1, 3)))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])
    monkeypatch.setattr("firstlight.parts.kmeans.CHUNK", 7)
    torch.testing.assert_close(spherical_kmeans(rows, 12, salt=(1, 2))[0], first[0])


def test_an_empty_cluster_keeps_its_centroid():
    rows = unit(torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    centroids, labels = spherical_kmeans(rows, 3)
    assert centroids.isfinite().all()
    torch.testing.assert_close(centroids.norm(dim=1), torch.ones(3))
    assert len(labels.unique()) == 2


@pytest.mark.parametrize("clusters", [0, 5])
def test_more_clusters_than_rows_are_refused(clusters):
    with pytest.raises(InputError, match="allowed are 1 to 4"):
        spherical_kmeans(unit(torch.randn(4, 2)), clusters)


def test_an_epoch_ends_when_as_many_pictures_came_as_there_are():
    clusters = Clusters(10, 4, 3, heads=2)
    assert all(len(head.unique()) == 3 for head in clusters.of), "every cluster is used before the first epoch too"
    epochs = []
    for step in range(8):  # 4 pictures a step: the epochs end in steps 2, 4 and 7
        index = torch.arange(4 * step, 4 * step + 4) % 10
        clusters.hear(index, unit(torch.randn(2, 4, 4)), step / 8)
        before = clusters.of.clone()
        clusters.follow(step / 8)
        epochs.append(int(clusters.epoch))
        assert torch.equal(before, clusters.of) or step in (2, 4, 7)
    assert epochs == [0, 0, 1, 1, 2, 2, 2, 3]


def test_heads_take_turns_with_the_crops():
    clusters = Clusters(8, 4, 2, heads=3)
    rows = unit(torch.randn(2, 8, 4))
    clusters.hear(torch.arange(8), rows, 0.0)
    clusters.follow(0.0)
    for head in range(3):
        centroids, labels = spherical_kmeans(rows[head % 2], 2, salt=(1, head))
        torch.testing.assert_close(clusters.centroids[head], centroids)
        assert torch.equal(clusters.of[head], labels)
    assert not clusters.centroids.requires_grad


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ((4, 5, 1), r"prototypes=5\): .*2 to 4 \(the pictures\); nearest: prototypes=4"),
        ((4, 1, 1), r"prototypes=1\): .*2 to 4 \(the pictures\); nearest: prototypes=2"),
        ((4, 2, 0), r"heads=0\): allowed is 1 and more; nearest: heads=1"),
        ((1, 2, 1), r"pictures=1\): .*2 and more; nearest: pictures=2"),
    ],
)
def test_impossible_clusterings_are_refused(settings, said):
    pictures, count, heads = settings
    with pytest.raises(InputError, match=said):
        Clusters(pictures, 3, count, heads)
