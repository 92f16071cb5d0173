"""Keeps the indexes of this process in step with the change log; implements `core.ports.IndexRegistry`."""

from __future__ import annotations

import itertools
import logging
import math
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import NotFound, Unavailable
from core.index_types import IndexStats
from core.metering import IngestMeter, IngestStage, NoMeter, timed
from core.ports.stores import ChangeLog, CollectionStore
from core.ports.work import Notifier
from core.types import Collection
from indexer.backoff import Backoff
from indexer.followed import Followed
from indexer.follower_settings import FollowerSettings
from indexer.index_upkeep import IndexUpkeep, guarded
from indexer.lexical_files import DamagedIndex
from indexer.search_index import SearchView
from indexer.snapshot import SnapshotStore
from indexer.working_folder import working_folder

logger = logging.getLogger(__name__)

WORKING = "indexes"  # folder beside the snapshots, of files that indexes keep while they are served


@dataclass(slots=True)
class _Unopened:
    """A collection, as last seen, whose index could not be opened; when that is tried again."""

    collection: Collection
    retry: Backoff = field(default_factory=Backoff)

    @property
    def lag(self) -> int:
        """All its changes, and be it that it was made."""
        return max(1, self.collection.seq)


class IndexFollower:
    """One index a collection. One thread follows the log; another compacts and writes snapshots.

    Searches take `view(collection)`, which waits for nothing. A collection whose log cannot be applied is
    logged, goes on serving its last view, and is rebuilt aside; it never stops the others.
    """

    def __init__(
        self,
        log: ChangeLog,
        collections: CollectionStore,
        notifier: Notifier,
        snapshots: Path,
        settings: FollowerSettings | None = None,
        meter: IngestMeter | None = None,
    ) -> None:
        self._meter = meter or NoMeter()
        self._log = log
        self._collections = collections
        self._notifier = notifier
        self._snapshots = SnapshotStore(snapshots)
        self._preferred = snapshots.with_name(WORKING)
        self._working = self._preferred
        self._opened = itertools.count(1)
        self._settings = settings or FollowerSettings()
        self._followed: dict[int, Followed] = {}
        self._prepared: dict[str, Collection] = {}  # by uid: followed though they are not listed
        self._released: set[str] = set()  # uids of those that are listed by now, or gone
        self._opening = threading.Lock()
        self._unopened: dict[str, _Unopened] = {}  # by uid
        self._applied = threading.Condition()
        self._news = threading.Event()
        self._is_awaited = threading.Event()  # somebody waits for a change: it is not to be gathered
        self._gather_until_s = -math.inf
        self._listed_s = -math.inf  # when the collections were last asked for
        self._stopping = threading.Event()
        self._upkeep = IndexUpkeep(self._all, self._snapshots, self._settings, self._stopping)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Loads snapshots and replays the log, so that all committed by now is served; then follows on."""
        self._working = working_folder(self._preferred)
        listed = self._collections.list()
        self._snapshots.drop_others({collection.uid for collection in listed})
        self._notifier.subscribe(self._on_news)
        self._notifier.subscribe_compaction(self._upkeep.request_compaction)
        self._catch_up(self._see_all(listed))
        for name, work in (("index-follower", self._follow), ("index-upkeep", self._upkeep.run)):
            thread = threading.Thread(target=work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stops both threads (a running build is given up) and writes a last snapshot of what changed."""
        self._stopping.set()
        self._news.set()
        self._is_awaited.set()
        self._upkeep.wake()
        self._tell_waiting()
        for thread in self._threads:
            thread.join(self._settings.stop_timeout_s)
        for followed in self._all():
            guarded(self._upkeep.save, followed)
            guarded(Followed.close, followed)
        shutil.rmtree(self._working, ignore_errors=True)

    def view(self, collection: Collection) -> SearchView:
        """The newest view. A collection seen for the first time gets an empty one, and is then followed.

        Raises Unavailable for one whose log begins later, as that of one restored from a backup does, until
        the index has come so far.
        """
        followed = self._get(collection)
        if not followed.is_whole:
            raise Unavailable(
                f"The index of collection {collection.name!r} is being built: it has applied seq"
                f" {followed.index.applied_seq} of {collection.seq}. Retry."
            )
        return followed.index.view

    def stats(self, collection: Collection) -> IndexStats:
        """Figures of the served index; `collection.seq - stats.applied_seq` is how far it lags behind."""
        return self._get(collection).index.stats()

    def newest(self, collection: Collection) -> Collection:
        """The collection's row as the follower last read it: at a change that was told, and each poll."""
        return self._get(collection).collection

    def wait_for(self, collection: Collection, seq: int, timeout_s: float) -> bool:
        """True once the served view has applied `seq`; False after `timeout_s` seconds or when stopping."""
        if self._get(collection).index.applied_seq >= seq:
            return True
        return self._await(collection, seq, timeout_s)

    def prepare(self, collection: Collection, timeout_s: float) -> bool:
        """Follows a collection that is not listed yet; True once all up to its seq is applied, as `wait_for`.

        Until it is released it stays followed. What hinders its index is logged, and tried again.
        """
        self._prepared[collection.uid] = collection
        return self._await(collection, collection.seq, timeout_s)

    def release(self, collection: Collection) -> None:
        """Tells that a prepared collection is listed by now, or gone: then it is dropped."""
        self._released.add(collection.uid)
        self._news.set()

    def _await(self, collection: Collection, seq: int, timeout_s: float) -> bool:
        def is_applied() -> bool:
            known = self._known(collection)  # one that was deleted meanwhile is not opened again
            return known is not None and known.index.applied_seq >= seq

        self._is_awaited.set()
        self._news.set()
        with self._applied:
            self._applied.wait_for(lambda: is_applied() or self._stopping.is_set(), timeout_s)
        return is_applied()

    def lag(self) -> dict[str, int]:
        """Collection name -> changes (in seq) known to be committed but not yet served."""
        hidden = {one.collection.name: one.lag for one in list(self._unopened.values())}
        return hidden | {one.collection.name: one.lag for one in self._all()}

    def recall(self) -> dict[str, float]:
        """Collection name -> recall@10 of its searches, as measured after the last compaction."""
        measured = {one.collection.name: one.index.stats().recall_at_10 for one in self._all()}
        return {name: recall for name, recall in measured.items() if recall is not None}

    def below_recall_target(self) -> int:
        """How many collections miss the target of recall, whatever the effort."""
        return sum(one.index.stats().is_below_target for one in self._all())

    def refused_snapshots(self) -> int:
        """How many collections have a last snapshot that the disk did not take."""
        return sum(one.is_refused for one in self._all())

    def _all(self) -> list[Followed]:
        return list(self._followed.values())

    def _known(self, collection: Collection) -> Followed | None:
        followed = self._followed.get(collection.id)
        return followed if followed is not None and followed.collection.uid == collection.uid else None

    def _get(self, collection: Collection) -> Followed:
        followed = self._known(collection)
        if followed is not None:
            return followed
        if collection.uid in self._unopened:  # an empty view would hide what its snapshot and log hold
            raise _not_opened(collection)
        try:
            followed = self._open(collection, with_snapshot=False)
        except (OSError, DamagedIndex) as error:
            raise _not_opened(collection) from error
        self._news.set()
        return followed

    def _open(self, collection: Collection, with_snapshot: bool) -> Followed:
        with self._opening:
            known = self._followed.get(collection.id)
            if known is not None and known.collection.uid == collection.uid:
                return known
            followed = self._start_following(collection, with_snapshot)
            if known is not None and known.collection.created_at > collection.created_at:
                followed.drop()  # the caller has not yet seen that it was replaced: an empty view is enough
                return followed
            if known is not None:
                self._drop(collection.id)
            self._followed[collection.id] = followed
            return followed

    def _start_following(self, collection: Collection, with_snapshot: bool) -> Followed:
        def new_folder() -> Path:
            return self._working / f"{collection.id}-{next(self._opened)}"

        settings = self._settings
        state = self._snapshots.load(collection) if with_snapshot else None
        try:
            return Followed(collection, state, new_folder, settings.build_threads, settings.recall_target)
        except (DamagedIndex, ValueError) as error:
            if state is None:
                raise
            self._snapshots.reject(collection, error)
            return Followed(collection, None, new_folder, settings.build_threads, settings.recall_target)

    def _on_news(self, collection_id: int, seq: int) -> None:
        self._news.set()

    def _follow(self) -> None:
        while not self._stopping.is_set():
            self._news.wait(self._settings.poll_interval_s)
            self._is_awaited.wait(max(0.0, self._gather_until_s - time.monotonic()))
            self._catch_up(self._look())  # neither raises anything: this thread must never end

    def _look(self) -> list[Followed]:
        """Lists the collections, drops those that are gone, opens those that are new; which are behind."""
        self._is_awaited.clear()
        self._news.clear()
        self._listed_s = time.monotonic()
        known, released = set(self._followed), set(self._released)
        try:
            listed = self._collections.list()
        except Unavailable as error:  # once a second while the database is away: where from is no news
            logger.warning("collections_not_listed", extra={"reason": str(error)})
            return []
        except Exception:
            logger.exception("collections_not_listed")
            return []
        wanted = self._with_prepared(listed, released)
        for uid in set(self._unopened) - {collection.uid for collection in wanted}:
            del self._unopened[uid]
        for gone in known - {collection.id for collection in wanted}:
            self._drop(gone)
        return self._see_all(wanted)

    def _with_prepared(self, listed: list[Collection], released: set[str]) -> list[Collection]:
        """Those listed and those not listed yet; `released` were so before the listing."""
        for uid in released:
            self._prepared.pop(uid, None)
            self._released.discard(uid)
        shown = {collection.uid for collection in listed}
        return [*listed, *(one for one in list(self._prepared.values()) if one.uid not in shown)]

    def _see_all(self, listed: list[Collection]) -> list[Followed]:
        """Those of which there is something to read."""
        behind = [followed for collection in listed if (followed := self._see(collection))]
        self._tell_waiting()  # one that was just opened may be as far as somebody waits for
        return behind

    def _catch_up(self, behind: list[Followed]) -> None:
        """Brings collections up to date, a page of each in turn, so that a long log delays no other.

        Between two rounds those are looked for that changed, came or went meanwhile.
        """
        while behind and not self._stopping.is_set():
            behind = [followed for followed in behind if self._advance(followed)]
            if behind and self._is_look_due():
                behind = self._look()

    def _is_look_due(self) -> bool:
        is_old = time.monotonic() - self._listed_s >= self._settings.poll_interval_s
        return is_old or self._news.is_set()

    def _see(self, collection: Collection) -> Followed | None:
        """The followed collection if there is something to read for it."""
        failed = self._unopened.get(collection.uid)
        if failed is not None:
            failed.collection = collection
            if not failed.retry.is_over:
                return None
        try:
            followed = self._open(collection, with_snapshot=True)
            self._unopened.pop(collection.uid, None)
            followed.see(collection)
        except Exception:  # a full disk, say: tried again later
            logger.exception("index_not_opened", extra={"collection": collection.name})
            if self._known(collection) is None:
                self._unopened.setdefault(collection.uid, _Unopened(collection)).retry.fail()
            return None
        return followed if followed.is_behind else None

    def _advance(self, followed: Followed) -> bool:
        """Applies one page; whether there is more to read now."""
        try:
            limit, held = self._settings.page_limit, followed.held_passages
            page = self._log.read(followed.collection.id, followed.cursor, limit, held)
        except NotFound:  # deleted a moment ago; the next listing drops it
            return False
        except Unavailable as error:  # the database is away: keep serving, try again
            name = followed.collection.name
            logger.warning("log_not_read", extra={"collection": name, "reason": str(error)})
            return False
        except Exception:
            logger.exception("log_not_read", extra={"collection": followed.collection.name})
            return False
        try:
            with timed(self._meter, IngestStage.INDEX):
                followed.apply(page)
        except Exception:
            logger.exception("log_not_applied", extra={"collection": followed.collection.name})
            guarded(Followed.fail, followed)
            return False
        if len(page.entries) >= self._settings.bulk_from:
            self._gather_until_s = time.monotonic() + self._settings.gather_s
        self._tell_waiting()
        self._upkeep.wake()
        return not page.is_last

    def _tell_waiting(self) -> None:
        with self._applied:
            self._applied.notify_all()

    def _drop(self, collection_id: int) -> None:
        followed = self._followed.pop(collection_id, None)
        if followed is not None:
            followed.drop()
            self._snapshots.drop(followed.collection.uid)
            logger.info("index_dropped", extra={"collection": followed.collection.name})


def _not_opened(collection: Collection) -> Unavailable:
    return Unavailable(
        f"The index of collection {collection.name!r} cannot be opened; the server's log says why (a full"
        " disk, say). It is tried again; retry."
    )
