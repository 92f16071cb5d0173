"""One tantivy index in a folder of its own: passages go in, searchers come out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import tantivy

from core.priority import on_yielding_thread
from indexer.lexical_analyzer import analyzer_of
from indexer.lexical_files import META, DamagedIndex, check_about, write_about

WRITER_HEAP_BYTES: Final = 15_000_000  # the least that tantivy accepts
READ_PASSAGES: Final = 4_096


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """A passage as indexed. `digest` tells the content of its whole document."""

    document_id: int
    passage_id: int
    digest: int
    text: str


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("text", stored=True, tokenizer_name="language", index_option="freq")
    builder.add_integer_field("document_id", indexed=True, fast=True)
    builder.add_integer_field("passage_id", fast=True)
    builder.add_integer_field("digest", fast=True)
    return builder.build()


SCHEMA: Final = _schema()


class LexicalStore:
    """Changed by one thread at a time; searchers may be used by many meanwhile.

    A searcher stays as it was when made, whatever is written, merged or deleted later. What is added and
    deleted is seen by searchers made after the next `commit`. The writer, which takes memory, exists only
    from the first change to `rest`.
    """

    def __init__(self, folder: Path, language: str) -> None:
        """Opens the index in `folder`, or makes an empty one there. Raises DamagedIndex, OSError."""
        self.folder = folder
        self._writer: tantivy.IndexWriter | None = None
        if (folder / META).exists():
            check_about(folder, language)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            write_about(folder, language)
        try:
            self._index = tantivy.Index(SCHEMA, str(folder))
            self._index.config_reader("manual")
            self._index.register_tokenizer("language", analyzer_of(language).tantivy)
            self._index.reload()
        except ValueError as error:
            raise DamagedIndex(f"The lexical index in {folder} cannot be opened ({error})") from error

    def add(self, passages: Iterable[StoredPassage]) -> None:
        writer = self._open_writer()
        for passage in passages:
            document = tantivy.Document()
            document.add_text("text", passage.text)
            document.add_integer("document_id", passage.document_id)
            document.add_integer("passage_id", passage.passage_id)
            document.add_integer("digest", passage.digest)
            writer.add_document(document)

    def delete(self, document_id: int) -> None:
        """Deletes what was added of a document up to now."""
        self._open_writer().delete_documents_by_term("document_id", document_id)

    def commit(self) -> None:
        if self._writer is not None:
            self._writer.commit()

    def rest(self) -> None:
        """Waits for merges and gives the writer's memory back; what was not committed is dropped."""
        if self._writer is not None:
            self._writer.wait_merging_threads()
            self._writer = None

    def searcher(self) -> tantivy.Searcher:
        """A searcher of what is committed now."""
        self._index.reload()
        return self._index.searcher()

    def _open_writer(self) -> tantivy.IndexWriter:
        if self._writer is None:
            # Its threads live as long as the writer, and give way to searches.
            self._writer = on_yielding_thread(lambda: self._index.writer(WRITER_HEAP_BYTES, 1))
        return self._writer


def known_digests(searcher: tantivy.Searcher, document_ids: Sequence[int]) -> dict[int, int]:
    """Document id -> digest, for those of the documents that have living passages."""
    if not document_ids or not searcher.num_docs:
        return {}
    query = tantivy.Query.term_set_query(SCHEMA, "document_id", document_ids)
    limit = 2 * len(document_ids)
    hits = searcher.search(query, limit, count=False).hits
    while len(hits) == limit:
        limit *= 4
        hits = searcher.search(query, limit, count=False).hits
    places = [place for _, place in hits]
    columns = [_column(searcher, name, places) for name in ("document_id", "digest")]
    return dict(zip(*columns, strict=True))


def stored_passages(searcher: tantivy.Searcher) -> Iterator[list[StoredPassage]]:
    """All living passages, some thousands at a time, in the order in which they were added."""
    every = tantivy.Query.all_query()
    for start in range(0, searcher.num_docs, READ_PASSAGES):
        hits = searcher.search(every, READ_PASSAGES, count=False, offset=start).hits
        places = [place for _, place in hits]
        columns = [_column(searcher, name, places) for name in ("document_id", "passage_id", "digest")]
        texts = [searcher.doc(place).get_first("text") or "" for place in places]
        yield [StoredPassage(*row) for row in zip(*columns, texts, strict=True)]


def _column(searcher: tantivy.Searcher, name: str, places: list[tantivy.DocAddress]) -> list[int]:
    """The values of a fast field, which every passage has."""
    return cast("list[int]", searcher.fast_field_values(name, places))
