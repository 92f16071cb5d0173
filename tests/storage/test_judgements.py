"""Judged queries are kept whole, say what of them can be measured, and end with their collection."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from sqlalchemy import func, select

from core.errors import NotFound
from core.judgement_types import JudgedQuery, JudgementCounts
from core.types import SearchDefaults
from storage.database import Database
from storage.judgements import EXAMPLES, SqlJudgementStore, measurable_queries
from storage.schema import JudgedQueries, Judgements
from tests.storage.world import World, new

NOBODY = 10**6


@pytest.fixture
def store(database: Database) -> SqlJudgementStore:
    return SqlJudgementStore(database)


def queries(count: int, external_id: str = "a") -> list[JudgedQuery]:
    return [JudgedQuery(f"query {i}", {external_id: 1}) for i in range(count)]


def test_judgements_read_back_in_the_order_sent_page_by_page(world: World, store: SqlJudgementStore) -> None:
    sent = [JudgedQuery(f"Größe {i % 7}? {i}", {f"d{i}": 1, "Ω / b": 3, "c": 0}) for i in range(25)]
    store.replace(world.id, sent)
    read: list[JudgedQuery] = []
    after: int | None = None
    pages = 0
    while pages == 0 or after is not None:
        page = store.page(world.id, 10, after)
        read, after, pages = [*read, *page.queries], page.following, pages + 1
    assert (read, pages) == (sent, 3)


def test_a_new_set_replaces_the_old_one_of_its_collection_alone(
    world: World, store: SqlJudgementStore
) -> None:
    other = World(world.database, "other", world.clock)
    store.replace(other.id, queries(1))
    store.replace(world.id, queries(5))
    store.replace(world.id, queries(2, "b"))
    assert list(store.page(world.id, 100, None).queries) == queries(2, "b")
    assert list(store.page(other.id, 100, None).queries) == queries(1)


def test_more_queries_than_fit_in_a_statement_are_kept_in_order(
    world: World, store: SqlJudgementStore
) -> None:
    counts = store.replace(world.id, queries(2_500))
    assert (counts.queries, counts.judgements) == (2_500, 2_500)
    assert list(store.page(world.id, 10_000, None).queries) == queries(2_500)


def test_counts_tell_what_is_not_searchable(world: World, store: SqlJudgementStore) -> None:
    world.add(new("a"), new("gone"))
    world.send(new("pending"))
    world.documents.delete(world.id, ["gone"])
    World(world.database, "other", world.clock).add(new("elsewhere"))
    told = store.replace(
        world.id,
        [
            JudgedQuery("found", {"a": 2, "never sent": 1}),
            JudgedQuery("judged, but not relevant", {"a": 0, "gone": 1}),
            JudgedQuery("nothing there", {"pending": 1, "elsewhere": 1, "gone": 1}),
        ],
    )
    lost = ("elsewhere", "gone", "never sent", "pending")
    assert told == store.counts(world.id) == JudgementCounts(3, 7, 1, 4, lost)


def test_at_most_a_few_examples_of_what_is_not_searchable_are_named(
    world: World, store: SqlJudgementStore
) -> None:
    told = store.replace(world.id, [JudgedQuery("q", {f"d{i:03}": 1 for i in range(100)})])
    assert told.not_found == 100
    assert told.examples == tuple(f"d{i:03}" for i in range(EXAMPLES))


def test_a_sample_has_only_what_can_be_measured(world: World, store: SqlJudgementStore) -> None:
    world.add(new("a"), new("b"))
    store.replace(
        world.id,
        [JudgedQuery("1", {"a": 1, "x": 2}), JudgedQuery("2", {"x": 1}), JudgedQuery("3", {"a": 0, "b": 3})],
    )
    expected = [JudgedQuery("1", {"a": 1}), JudgedQuery("3", {"a": 0, "b": 3})]
    assert store.sample(world.id, 10, 0) == expected


def test_a_sample_is_drawn_by_its_seed_and_survives_sending_the_same_again(
    world: World, store: SqlJudgementStore
) -> None:
    world.add(new("a"))
    store.replace(world.id, queries(50))
    first, other = (store.sample(world.id, 10, seed) for seed in (1, 2))
    store.replace(world.id, queries(50))
    assert store.sample(world.id, 10, 1) == first
    assert len(first) == len({query.text for query in first}) == 10
    assert first != other
    assert len(store.sample(world.id, 50, 1)) == 50


def test_what_is_measurable_is_looked_up_from_the_judgements(sqlite_url: str) -> None:
    """Starting from all searchable documents would take their number times that of the queries."""
    database = Database(sqlite_url)
    with database.read() as connection:
        query = measurable_queries(1).compile(connection, compile_kwargs={"literal_binds": True})
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all()
    (documents,) = [row[3] for row in plan if "documents" in row[3]]
    assert "(collection_id=? AND external_id=?)" in documents
    database.close()


def test_clearing_tells_how_many_there_were(world: World, store: SqlJudgementStore) -> None:
    store.replace(world.id, queries(3))
    assert (store.clear(world.id), store.clear(world.id)) == (3, 0)
    assert store.counts(world.id) == JudgementCounts(0, 0, 0, 0)


def test_a_collection_that_is_gone_takes_no_judgements(world: World, store: SqlJudgementStore) -> None:
    for call in (lambda: store.replace(NOBODY, queries(1)), lambda: store.clear(NOBODY)):
        with pytest.raises(NotFound):
            call()


def test_judgements_end_with_their_collection(world: World, store: SqlJudgementStore) -> None:
    store.replace(world.id, queries(3))
    world.collections.delete(world.name)
    with world.database.read() as connection:
        for table in (JudgedQueries, Judgements):
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0


def test_search_defaults_are_kept_and_can_be_taken_back(world: World) -> None:
    assert world.collection.search == SearchDefaults()
    wanted = SearchDefaults("hybrid", "convex", 0.6, False)
    changed = world.collections.change("news", None, wanted)
    assert changed.search == world.collections.get("news").search == wanted
    assert changed.seq == world.collection.seq
    partly = world.collections.change("news", "all of it", SearchDefaults(dense_weight=0.0))
    assert (partly.description, partly.search) == ("all of it", SearchDefaults(dense_weight=0.0))
    world.collections.change("news", None, None)
    assert world.collections.get("news") == partly
    plain = world.collections.change("news", "", SearchDefaults())
    assert asdict(plain) == asdict(world.collection)


def test_changing_an_unknown_collection_says_so(world: World) -> None:
    with pytest.raises(NotFound, match="'none' does not exist"):
        world.collections.change("none", "x", None)
