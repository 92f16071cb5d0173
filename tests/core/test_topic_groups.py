"""Groups of a view's documents, of which only a sample is looked at for their centres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest

from core import topic_groups
from core.index_types import PassageVectors
from core.ports.indexes import IndexView
from core.topic_groups import Grouped, document_vectors, group
from core.types import Float32, Int64
from indexer.clustering import SphericalKMeans

SIZES = (90, 70, 40)


@dataclass
class TwoPassages:
    """Each document has two passages, whose mean is its vector; ids begin at 100, and passages are mixed."""

    means: Float32  # (n, d)

    def vectors(self, document_ids: Int64) -> PassageVectors:
        rows = document_ids - 100
        aside = np.roll(self.means[rows], 1, axis=1)
        documents = np.concatenate([document_ids, document_ids])
        vectors = np.concatenate([self.means[rows] + aside, self.means[rows] - aside])
        passages = np.concatenate([rows, rows + len(self.means)])
        return PassageVectors(documents, passages, vectors)


def view_of(means: Float32) -> IndexView:
    return cast(IndexView, cast(Any, TwoPassages(means)))


def themed() -> tuple[Float32, Int64]:
    """Vectors (n, 12) around three axes, and the theme of each, in random order."""
    rng = np.random.default_rng(0)
    themes = rng.permutation(np.repeat(np.arange(3), SIZES))
    rows = np.eye(12)[themes] + 0.05 * rng.standard_normal((len(themes), 12))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32), themes


def grouped(means: Float32, k: int) -> Grouped:
    return group(SphericalKMeans(), view_of(means), np.arange(len(means)) + 100, k)


def test_a_documents_vector_is_the_unit_mean_of_its_passages() -> None:
    means, _ = themed()
    ids = np.array([100, 107, 150])
    assert document_vectors(view_of(means), ids) == pytest.approx(means[ids - 100], abs=1e-6)


@pytest.mark.parametrize(("n", "k"), [(500, 100), (10_000, 32)])
def test_documents_that_are_all_alike_are_one_topic(n: int, k: int) -> None:
    one = np.random.default_rng(0).standard_normal((1, 384))
    alike = np.repeat(one / np.linalg.norm(one), n, axis=0).astype(np.float32)
    assert grouped(alike, k).sizes.tolist() == [n]


@pytest.mark.parametrize("sampled", [30, 20_000])
def test_documents_outside_the_sample_join_the_nearest_centre(
    sampled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_groups, "SAMPLED", sampled)
    monkeypatch.setattr(topic_groups, "PAGE", 16)
    means, themes = themed()
    found = grouped(means, 3)
    assert found.sizes.tolist() == list(SIZES)
    assert (found.groups == themes).all()  # the largest is the first
    assert len(found.sampled) == len(found.vectors) == min(sampled, len(means))
    assert found.vectors == pytest.approx(means[found.sampled], abs=1e-6)
    cosines = (means * found.centroids[found.groups]).sum(axis=1)
    assert found.similarities == pytest.approx(cosines, abs=1e-5)
    assert found.mean_similarities == pytest.approx([cosines[themes == one].mean() for one in range(3)])


def test_central_documents_are_the_nearest_of_their_group() -> None:
    means, themes = themed()
    found = grouped(means, 3)
    rows = found.central(1, 5)
    assert (themes[rows] == 1).all()
    best = np.sort(found.similarities[themes == 1])[::-1][:5]
    assert found.similarities[rows] == pytest.approx(best)
    assert len(found.central(2, 1000)) == SIZES[2]


def test_centres_that_no_document_is_nearest_to_are_no_groups() -> None:
    means = np.repeat(np.eye(12, dtype=np.float32)[:2], 10, axis=0)
    found = grouped(means, 8)
    assert found.sizes.tolist() == [10, 10]
    assert len(found.centroids) == 2
