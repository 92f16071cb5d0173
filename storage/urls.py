"""URLs of databases in messages."""

from __future__ import annotations

import re


def without_secrets(url: str) -> str:
    """The URL without user and password, neither before the host nor among what follows the question mark."""
    shown = re.sub(r"([?&][^=&]*pass[^=&]*=)[^&]*", r"\1***", url, flags=re.IGNORECASE)
    return re.sub(r"://.*@", "://***@", shown)
