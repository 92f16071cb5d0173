"""Sets of documents agree with Python's own sets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.document_set import SMALL_TABLE, DocumentSet

# Also so far apart that they are not kept as a table.
ids = st.lists(st.one_of(st.integers(1, 300), st.integers(10**9, 10**9 + 300)), max_size=40)


@given(members=ids, asked=ids)
def test_a_mask_tells_members(members: list[int], asked: list[int]) -> None:
    found = DocumentSet.of(np.array(members, dtype=np.int64)).mask(np.array(asked, dtype=np.int64))
    assert found.tolist() == [one in set(members) for one in asked]


@given(members=ids)
def test_ids_are_ascending_and_counted(members: list[int]) -> None:
    chosen = DocumentSet.of(np.array(members, dtype=np.int64))
    assert chosen.ids().tolist() == sorted(set(members))
    assert chosen.count == len(set(members))


@given(members=st.lists(st.integers(1, 2**40), min_size=1, max_size=40))
def test_ids_far_apart_take_the_room_of_their_number(members: list[int]) -> None:
    assert DocumentSet.of(np.array(members, dtype=np.int64)).nbytes <= SMALL_TABLE
