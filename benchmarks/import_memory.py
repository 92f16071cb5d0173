"""Memory of importing a large file above that of an idle worker: reading, checking and accepting its rows.

    python -m benchmarks.import_memory --format csv --mib 1024

The file is made in a temporary folder, stored as an upload, and imported into SQLite by the code that a
worker runs. Nothing is encoded: that takes hours on a CPU, and holds one batch a thread whatever the file.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from core.documents import DocumentLimits
from core.imports import ImportService
from core.ingest import IngestService
from core.job_types import ImportFields, Task
from core.memory import bound_heaps
from core.types import CollectionSettings, EncoderInfo
from indexer.imports import FileImportReader
from migrations.upgrade import upgrade
from storage.batches import SqlBatchStore
from storage.collections import SqlCollectionStore
from storage.database import Database
from storage.documents import SqlDocumentStore
from storage.jobs import SqlJobStore
from storage.uploads import FsspecUploadStore, local_uploads

MIB = 1 << 20
TEXT_WORDS = 300
FORMATS = ("csv", "csv.gz", "jsonl", "json", "parquet")


class NoQueue:
    """Takes tasks and leaves them to the database."""

    def enqueue(self, tasks: Sequence[Task]) -> None: ...

    def depth(self) -> int:
        return 0


class NoNews:
    def publish(self, collection_id: int, seq: int) -> None: ...


def rows() -> Iterator[dict[str, str]]:
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 10))) for _ in range(5000)]
    bodies = [" ".join(rng.choices(words, k=TEXT_WORDS)) for _ in range(2000)]
    number = 0
    while True:
        text = f'Row {number} says "{words[number % 5000]}", and: {bodies[number % 2000]}.'
        yield {"id": f"row-{number}", "title": f"About {number}", "text": text, "year": str(number % 30)}
        number += 1


def write_file(path: Path, kind: str, size_bytes: int) -> int:
    """How many rows `path` got; together at least `size_bytes` before they are packed."""
    if kind == "parquet":
        return _write_parquet(path, size_bytes)
    with path.open("wb") as plain:
        if not kind.endswith(".gz"):
            return _write_text(plain, kind, size_bytes)
        with gzip.GzipFile(fileobj=plain, mode="wb", compresslevel=1) as packed:
            return _write_text(packed, kind, size_bytes)


def _write_text(file: BinaryIO | gzip.GzipFile, kind: str, size_bytes: int) -> int:
    file.write({"csv": b"id,title,text,year\n", "json": b"["}.get(kind.removesuffix(".gz"), b""))
    written = number = 0
    for number, row in enumerate(rows(), start=1):
        if kind.startswith("csv"):
            line = ",".join('"' + value.replace('"', '""') + '"' for value in row.values()) + "\n"
        else:
            line = (",\n" if kind == "json" and number > 1 else "") + json.dumps(row)
            line += "\n" if kind == "jsonl" else ""
        written += file.write(line.encode())
        if written >= size_bytes:
            break
    file.write(b"]" if kind == "json" else b"")
    return number


def _write_parquet(path: Path, size_bytes: int) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    written, number, source = 0, 0, rows()
    schema = pa.schema([(name, pa.string()) for name in ("id", "title", "text", "year")])
    with pq.ParquetWriter(path, schema) as writer:
        while written < size_bytes:
            group = [next(source) for _ in range(50_000)]
            written += sum(len(value) for row in group for value in row.values())
            number += len(group)
            writer.write_table(pa.Table.from_pylist(group, schema))
    return number


def resident_mib(what: str) -> float:
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


@contextmanager
def watched() -> Iterator[list[float]]:
    """The most anonymous memory so far, in MiB: pages of mapped files are the system's to take back."""
    most, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            most[0] = max(most[0], resident_mib("RssAnon"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        stop.set()
        thread.join()


def make_service(database: Database, uploads: FsspecUploadStore) -> ImportService:
    ingest = IngestService(
        SqlDocumentStore(database),
        SqlBatchStore(database),
        SqlJobStore(database),
        cast(Any, None),
        cast(Any, None),
        NoQueue(),
        cast(Any, NoNews()),
        DocumentLimits(),
        1,
    )
    return ImportService(
        ingest, SqlCollectionStore(database), FileImportReader(), uploads, 10**9, lambda: False
    )


def measure(folder: Path, kind: str, expected_rows: int) -> None:
    url = f"sqlite:///{folder / 'cognate.db'}"
    upgrade(url)
    bound_heaps()
    database = Database(url)
    service = make_service(database, local_uploads(folder / "uploads"))
    encoder = EncoderInfo("none", "f" * 64, 384, 256)
    collection = service.collections.create("c", "", encoder, CollectionSettings())[0]
    idle, idle_all = resident_mib("RssAnon"), resident_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    with watched() as most:
        started = time.process_time()
        job = service.start(collection, "file", f"file.{kind}", ImportFields())
        service.run(job.id)
        took_s = time.process_time() - started
    done = service.ingest.jobs.get(job.id)
    assert (done.total, done.failed, done.is_read) == (expected_rows, 0, True), done
    print(f"idle {idle:.0f} MiB anonymous, {idle_all:.0f} MiB resident")
    print(
        f"above idle: {most[0] - idle:.0f} MiB anonymous, {resident_mib('VmHWM') - idle_all:.0f} MiB resident"
    )
    print(f"{done.total:,} rows in {took_s:.0f} s of one core, {done.total / took_s:,.0f} rows/s")
    database.close()


def measure_skip(path: Path, kind: str, count: int) -> None:
    """What a resume at the end of the file costs: all rows are read again and passed over."""
    from indexer.readers import open_rows

    started = time.process_time()
    left = sum(1 for _ in open_rows(lambda: path.open("rb"), f"file.{kind}", skip_rows=count - 1))
    assert left == 1
    print(f"resume at the last row: {time.process_time() - started:.1f} s of one core")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=FORMATS, default="csv")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument(
        "--folder", type=Path, help="where to put file and database; needs four times the file"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        (folder / "uploads").mkdir()
        path = folder / f"file.{options.format}"
        count = _in_child(write_file, path, options.format, options.mib * MIB)
        print(f"{options.format}: {path.stat().st_size / MIB:,.0f} MiB, {count:,} rows")
        _in_child(measure_skip, path, options.format, count)
        path.rename(folder / "uploads" / "file")
        _in_child(measure, folder, options.format, count)


def _in_child(function: Any, *arguments: Any) -> Any:
    """Runs in a fresh process, so that neither making the file nor an earlier step is counted."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


if __name__ == "__main__":
    main()
