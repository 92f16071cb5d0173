"""The lexical index: equal to BM25 by its formula, immutable views, snapshots, injection-proof queries."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tantivy

from core.document_set import DocumentSet
from core.errors import InvalidInput
from core.index_types import IndexHit, LogEntry
from core.types import Int64
from indexer import lexical, lexical_view, upkeep
from indexer.lexical import LexicalIndex
from indexer.lexical_files import ABOUT, META, DamagedIndex, dead_passages
from indexer.lexical_store import StoredPassage, stored_passages
from indexer.lexical_view import MAX_QUERY_TERMS, LexicalView
from indexer.upkeep import Occasion
from tests.indexer.lexical_entries import bm25, entry

WORDS = [
    "river",
    "boat",
    "sails",
    "harbour",
    "storm",
    "wind",
    "captain",
    "rope",
    "東京",
    "😀",
    "שלום",
    "naïve",
]


@pytest.fixture
def index(tmp_path: Path) -> LexicalIndex:
    return LexicalIndex(tmp_path / "work", "en")


def random_entry(rng: np.random.Generator, document_id: int) -> LogEntry:
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 12))) for _ in range(rng.integers(1, 4))]
    return entry(document_id, *texts, title=str(rng.choice(WORDS)))


def assert_same(found: list[IndexHit], expected: list[IndexHit]) -> None:
    assert [(hit.document_id, hit.passage_id) for hit in found] == [
        (hit.document_id, hit.passage_id) for hit in expected
    ]
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], rel=1e-4)


def ids(hits: list[IndexHit]) -> list[int]:
    return [hit.document_id for hit in hits]


def test_scores_are_those_of_the_formula_and_equal_ones_go_by_passage_id(index: LexicalIndex) -> None:
    rng = np.random.default_rng(1)
    entries = [random_entry(rng, document_id) for document_id in range(1, 120)]
    for start in range(0, len(entries), 40):  # several segments
        index.apply(entries[start : start + 40])
        view = index.publish()
    for query in ("boat", "sailing boats in the wind", "storm storm rope", "naïve 東 שלום", "captain"):
        expected = bm25(entries, query)
        assert_same(view.search(query, 500), expected)
        assert_same(view.search(query, 7), expected[:7])


def test_equal_passages_go_by_passage_id_however_many_there_are(index: LexicalIndex) -> None:
    index.apply([entry(n, "wind and storm", first=1000 - n) for n in range(1, 201)])
    view = index.publish()
    assert [hit.passage_id for hit in view.search("storm wind", 3)] == [800, 801, 802]
    assert len({hit.score for hit in view.search("storm wind", 200)}) == 1


def assert_scores(view: LexicalView, text: str, document_ids: Int64, expected: list[IndexHit]) -> None:
    """Those of the hits have the scores and passages of `expected`, the others none."""
    hits = {hit.document_id: hit for hit in expected}
    of_each = [hits.get(document, IndexHit(document, -1, 0.0)) for document in document_ids.tolist()]
    scores, passages = view.score(text, document_ids)
    assert passages.tolist() == [hit.passage_id for hit in of_each]
    assert scores.tolist() == pytest.approx([hit.score for hit in of_each], rel=1e-4)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("free_fetch", [-(10**9), lexical_view.FREE_FETCH, 10**9])
def test_a_filter_keeps_to_the_allowed_documents_at_every_selectivity(
    index: LexicalIndex, share: float, free_fetch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lexical_view, "FREE_FETCH", free_fetch)
    rng = np.random.default_rng(2)
    entries = [random_entry(rng, document_id) for document_id in range(1, 301)]
    index.apply(entries)
    view = index.publish()
    chosen = np.flatnonzero(rng.random(301) < share)
    allowed = DocumentSet.of(chosen)
    for query in ("boat", "wind river 東京", "absent"):
        expected = [hit for hit in bm25(entries, query) if hit.document_id in chosen]
        assert_same(view.search(query, 10, allowed), expected[:10])
        assert_same(view.search(query, 1_000, allowed), expected)
        assert_scores(view, query, chosen, expected)


def test_a_document_is_replaced_as_a_whole_and_a_removed_one_is_gone(index: LexicalIndex) -> None:
    index.apply([entry(1, "boat", "storm"), entry(2, "boat")])
    index.publish()
    index.apply([entry(1, "rope"), entry(2), entry(3, "boat"), entry(3)])
    view = index.publish()
    assert ids(view.search("boat storm rope", 9)) == [1]
    assert view.passages == 1
    scores, passages = view.score("rope", np.array([1, 2, 77]))
    assert (scores > 0).tolist() == (passages >= 0).tolist() == [True, False, False]


def test_what_is_applied_is_seen_only_when_published(index: LexicalIndex) -> None:
    index.apply([entry(1, "boat")])
    assert index.view.search("boat", 1) == []
    assert ids(index.publish().search("boat", 1)) == [1]


def test_applying_a_page_again_changes_nothing(index: LexicalIndex) -> None:
    page = [entry(1, "boat"), entry(2, "boat", "storm"), entry(3)]
    index.apply(page)
    view = index.publish()
    index.apply(page)
    assert index.publish() is view


def test_old_views_stay_as_they_were_under_writes_merges_and_compaction(index: LexicalIndex) -> None:
    rng = np.random.default_rng(3)
    entries = [random_entry(rng, document_id) for document_id in range(1, 60)]
    index.apply(entries)
    view = index.publish()
    before = view.search("boat wind", 100)
    for round_ in range(10):  # enough commits for tantivy to merge
        index.apply([random_entry(rng, document_id) for document_id in range(round_, 60, 5)])
        index.publish()
    index.rest()
    index.compact()
    index.apply([entry(document_id) for document_id in range(60)])
    assert index.publish().search("boat wind", 100) == []
    assert view.search("boat wind", 100) == before
    assert_scores(view, "boat wind", np.arange(60), before)


def test_searches_of_many_threads_agree_while_the_index_changes(index: LexicalIndex) -> None:
    rng = np.random.default_rng(4)
    index.apply([random_entry(rng, document_id) for document_id in range(1, 100)])
    view = index.publish()
    expected = view.search("boat storm", 20)
    answers: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(all(view.search("boat storm", 20) == expected for _ in range(50)))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for document_id in range(1, 6):
        index.apply([entry(document_id)])
        index.publish()
    for thread in threads:
        thread.join()
    assert answers == [True] * 4


@pytest.mark.parametrize(
    "text",
    [
        '"boat"',
        "boat:storm",
        "title:boat AND (storm OR NOT rope)",
        "+boat -storm ~2^3 *",
        "boat\x00storm",
        "boat \ud800",
        "/boat/ [a TO z} {boat",
        "\\boat\\",
        "boat" + "?!\"':;(){}[]" * 1_000,
        "😀 boat שלום‏",
    ],
)
def test_query_text_is_text(index: LexicalIndex, text: str) -> None:
    index.apply([entry(1, "a boat")])
    assert ids(index.publish().search(text, 5)) == [1]


@pytest.mark.parametrize("text", ["", " \t\n", "?!\"':;(){}[]" * 1_000, "\x00", "\ud800", "x" * 1_000_000])
def test_a_query_without_words_finds_nothing(index: LexicalIndex, text: str) -> None:
    index.apply([entry(1, "a boat", "\ud800 \x00", "x" * 1_000_000)])
    view = index.publish()
    assert view.search(text, 5) == []
    assert_scores(view, text, np.array([1]), [])


def test_of_very_many_words_the_rarest_are_searched(index: LexicalIndex) -> None:
    common = [f"common{n}" for n in range(2 * MAX_QUERY_TERMS)]
    index.apply([*(entry(n, *common) for n in (1, 2)), entry(3, "rare")])
    view = index.publish()
    unheard = [f"unheard{n}" for n in range(6_000)]
    assert 3 in ids(view.search(" ".join([*common, *unheard, "rare"]), 3))


def test_a_k_below_one_is_refused_and_an_empty_index_finds_nothing(index: LexicalIndex) -> None:
    assert index.view.search("boat", 3) == []
    assert index.view.search("boat", 3, DocumentSet.of(np.array([1]))) == []
    with pytest.raises(InvalidInput, match="at least 1"):
        index.view.search("boat", 0)


def test_a_saved_index_opens_again_and_is_not_touched_by_what_follows(
    index: LexicalIndex, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    entries = [random_entry(rng, document_id) for document_id in range(1, 50)]
    index.apply(entries)
    index.save(tmp_path / "saved")
    for start in range(1, 50, 5):
        index.apply([entry(document_id) for document_id in range(start, start + 5)])
        index.publish()
    index.compact()
    for name in ("first", "second"):
        opened = LexicalIndex(tmp_path / name, "en", tmp_path / "saved")
        assert_same(opened.view.search("boat storm", 100), bm25(entries, "boat storm"))
        opened.apply(entries)
        assert opened.publish() is opened.view
        opened.apply([entry(1)])
        assert 1 not in ids(opened.publish().search(" ".join(WORDS), 100))


@pytest.mark.integration
def test_a_folder_saved_by_a_killed_process_opens(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom indexer.lexical import LexicalIndex\n"
        "from tests.indexer.lexical_entries import entry\n"
        "index = LexicalIndex(Path(sys.argv[1]), 'en')\n"
        "index.apply([entry(1, 'boat')])\nindex.save(Path(sys.argv[2]))\n"
        "index.apply([entry(2, 'boat')])\nindex.publish()\nindex.apply([entry(3, 'boat')])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    work, saved = tmp_path / "work", tmp_path / "saved"
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", program, work, saved], cwd=root, timeout=60, check=False)
    assert killed.returncode == -9
    index = LexicalIndex(work, "en", saved)
    index.apply([entry(4, "boat")])
    assert sorted(ids(index.publish().search("boat", 9))) == [1, 4]


@pytest.mark.parametrize("damage", ["missing", "cut", "no list", "broken list", "foreign", "empty"])
def test_a_damaged_folder_is_refused(index: LexicalIndex, tmp_path: Path, damage: str) -> None:
    saved = tmp_path / "saved"
    index.apply([entry(1, "boat")])
    index.save(saved)
    segment = next(saved.glob("*.term"))
    match damage:
        case "missing":
            segment.unlink()
        case "cut":
            content = segment.read_bytes()
            segment.unlink()
            segment.write_bytes(content[: len(content) // 2])
        case "no list":
            (saved / META).unlink()
        case "broken list":
            (saved / META).write_text("{")
        case "foreign":
            (saved / ABOUT).write_text('{"format": 0, "language": "en"}')
        case "empty":
            shutil.rmtree(saved)
    with pytest.raises(DamagedIndex):
        LexicalIndex(tmp_path / "opened", "en", saved)


def test_an_index_of_another_language_is_refused(index: LexicalIndex, tmp_path: Path) -> None:
    index.save(tmp_path / "saved")
    with pytest.raises(DamagedIndex, match="'de'"):
        LexicalIndex(tmp_path / "opened", "de", tmp_path / "saved")


def test_compaction_is_due_when_many_passages_are_deleted(
    index: LexicalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "MIN_DEAD", 5)
    index.apply([entry(document_id, "boat") for document_id in range(1, 21)])
    index.publish()
    assert not index.is_compaction_due()
    index.apply([entry(document_id) for document_id in range(1, 11)])
    index.publish()
    assert index.is_compaction_due()
    assert index.compact()
    index.publish()
    assert not index.is_compaction_due()
    (folder,) = (tmp_path / "work").iterdir()
    assert dead_passages(folder) == 0


def test_at_rest_scores_become_those_of_the_living_passages(index: LexicalIndex) -> None:
    index.apply([entry(document_id, "boat") for document_id in range(1, 31)] + [entry(31, "harbour boat")])
    index.publish()
    index.apply([entry(document_id) for document_id in range(1, 28)])
    view = index.publish()
    assert view.worth("boat")["boat"] == pytest.approx(math.log1p((31 - 31 + 0.5) / (31 + 0.5)))
    assert not index.is_compaction_due(Occasion.WRITING)
    assert index.is_compaction_due(Occasion.RESTING)
    assert index.compact()
    view = index.publish()
    assert view.worth("boat")["boat"] == pytest.approx(math.log1p((4 - 4 + 0.5) / (4 + 0.5)))
    living = [entry(document_id, "boat") for document_id in range(28, 31)] + [entry(31, "harbour boat")]
    scores = {hit.document_id: hit.score for hit in view.search("harbour boat", 9)}
    expected = {hit.document_id: hit.score for hit in bm25(living, "harbour boat")}
    assert scores == pytest.approx(expected)
    assert not index.is_compaction_due(Occasion.RESTING)


def test_what_is_applied_during_a_compaction_is_kept(
    index: LexicalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.apply([entry(1, "boat"), entry(2, "boat")])
    index.publish()

    def disturbed(searcher: tantivy.Searcher) -> Iterator[list[StoredPassage]]:
        index.apply([entry(1), entry(3, "boat")])
        index.publish()
        index.apply([entry(4, "boat")])
        return stored_passages(searcher)

    monkeypatch.setattr(lexical, "stored_passages", disturbed)
    assert index.compact()
    assert sorted(ids(index.publish().search("boat", 9))) == [2, 3, 4]


def run_program(folder: Path, seed: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    index = LexicalIndex(folder / "0", "en")
    living: dict[int, LogEntry] = {}
    for step in range(1, steps):
        page = [random_entry(rng, int(one)) for one in rng.integers(1, 30, rng.integers(0, 8))]
        page = [one if rng.random() < 0.7 else entry(one.document_id) for one in page]
        index.apply(page)
        living.update({one.document_id: one for one in page})
        match rng.integers(4):
            case 0:
                index.save(folder / f"saved-{step}")
                index = LexicalIndex(folder / str(step), "en", folder / f"saved-{step}")
            case 1:
                index.rest()
            case 2:
                index.compact()
        query = " ".join(rng.choice(WORDS, 2))
        expected = bm25([*living.values()], query)
        assert sorted(ids(index.publish().search(query, 100))) == sorted(ids(expected))
        if step % 4 == 0:
            index.compact()
            assert_same(index.publish().search(query, 100), expected)
            assert_same(index.view.search(query, 3), expected[:3])


@pytest.mark.parametrize("seed", range(3))
def test_a_random_program_gives_the_hits_of_the_formula(tmp_path: Path, seed: int) -> None:
    run_program(tmp_path, seed, 9)


@pytest.mark.integration
@pytest.mark.parametrize("seed", range(10, 16))
def test_a_long_random_program_gives_the_hits_of_the_formula(tmp_path: Path, seed: int) -> None:
    run_program(tmp_path, seed, 60)
