"""How a collection is searched when a request does not say: checked, stored, told to every process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.collections import CollectionService
from core.documents import check_text
from core.errors import InvalidInput
from core.fusion import Fusion
from core.ports.stores import CollectionStore
from core.ports.work import Notifier
from core.types import Collection, SearchDefaults


@dataclass(frozen=True, slots=True)
class SearchDefaultsService:
    """`modes` are those of this server's search. A change is no entry of the log, but followers are told."""

    collections: CollectionService
    store: CollectionStore
    notifier: Notifier
    modes: Sequence[str]

    def change(self, name: str, description: str | None, search: SearchDefaults | None) -> Collection:
        """The collection after the change; None leaves a value as it is.

        Other processes hear of it at once, or read it when they next poll, within a second. Raises
        NotFound, EncoderMismatch or InvalidInput.
        """
        self.collections.open(name)
        check_text(description or "", "'description'")
        if search is not None:
            check_defaults(search, self.modes)
        changed = self.store.change(name, description, search)
        self.notifier.publish(changed.id, changed.seq)
        return changed


def check_defaults(search: SearchDefaults, modes: Sequence[str]) -> None:
    """Raises InvalidInput unless this server can search so."""
    if search.mode is not None and search.mode not in modes:
        raise InvalidInput(f"search.mode is {search.mode!r}; this server has {', '.join(modes)}.")
    fusion_of(search)


def fusion_of(search: SearchDefaults) -> Fusion:
    """What hybrid search fuses with; what the collection leaves open is the service's default.

    Raises InvalidInput for an unknown method and for a weight outside 0 to 1.
    """
    given: dict[str, Any] = {"method": search.fusion_method, "dense_weight": search.dense_weight}
    return Fusion(**{name: value for name, value in given.items() if value is not None})
