"""Sets of documents agree with Python's own sets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.document_set import DocumentSet

ids = st.lists(st.integers(1, 300), max_size=40)


@given(members=ids, asked=ids)
def test_a_mask_tells_members(members: list[int], asked: list[int]) -> None:
    found = DocumentSet.of(np.array(members, dtype=np.int64)).mask(np.array(asked, dtype=np.int64))
    assert found.tolist() == [one in set(members) for one in asked]


@given(members=ids)
def test_ids_are_ascending_and_counted(members: list[int]) -> None:
    chosen = DocumentSet.of(np.array(members, dtype=np.int64))
    assert chosen.ids().tolist() == sorted(set(members))
    assert chosen.count == len(set(members))
