"""What dense and lexical search find for a query, before the two lists are fused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.fusion import Found


@dataclass(frozen=True, slots=True)
class Candidates:
    """What both indexes tell of one query, and the external ids of the documents that can be shown."""

    dense: Found
    lexical: Found
    external_ids: Mapping[int, str]
