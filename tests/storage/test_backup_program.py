"""Whatever was done to a collection, its restored backup holds the same."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.backup_types import Move
from storage.uploads import BACKUPS, local_uploads
from tests.storage.backed_up import contents, make, restore
from tests.storage.world import World, encode, new, opened

IDS = st.sampled_from(["a", "b", "c", "Ä/ö", "e\n"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
ADD = st.tuples(st.just("add"), st.lists(st.tuples(IDS, TEXTS, VALUES), min_size=1, max_size=4))
SEND = st.tuples(st.just("send"), st.lists(st.tuples(IDS, TEXTS, VALUES), min_size=1, max_size=4))
FAIL = st.tuples(st.just("fail"), st.lists(st.tuples(IDS, TEXTS, VALUES), min_size=1, max_size=2))
DELETE = st.tuples(st.just("delete"), st.lists(IDS, min_size=1, max_size=3))


@pytest.mark.slow
@settings(max_examples=25)
@given(program=st.lists(st.one_of(ADD, SEND, FAIL, DELETE), max_size=8))
def test_a_restored_collection_is_the_saved_one(
    migrated_sqlite: Path, program: list[tuple[str, Any]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = f"sqlite:///{shutil.copy(migrated_sqlite, folder / 'cognate.db')}"
        with opened(url) as database:
            world, files = World(database), local_uploads(folder / "backups", BACKUPS)
            for move, items in program:
                play(world, move, items)
            make(world, files)
            restore(database, files, Move("news", "copy"))
            copy = World(database, "copy")
            assert contents(database, "copy") == contents(database, "news")
            assert copy.found() == world.found()
            assert copy.counts() == world.counts()
            for one in (world, copy):  # what was pending becomes the same, too
                finish(one)
            assert copy.found() == world.found()
            assert copy.counts() == world.counts()


def play(world: World, move: str, items: Any) -> None:
    if move == "delete":
        world.documents.delete(world.id, items)
        return
    documents = {id_: new(id_, text, value=value) for id_, text, value in items}
    accepted = world.send(*documents.values())
    if move == "add":
        world.encode(accepted)
    elif move == "fail":
        world.fail(accepted)


def finish(world: World) -> None:
    for task in world.batches.unfinished():
        batch = world.batches.claim(task.id, 60)
        if batch is not None:
            world.batches.complete(batch, encode(batch.items), [])
