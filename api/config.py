"""What the HTTP edge needs to know; made from the settings by the composition root."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """Sizes in bytes. `key_hashes` are sha256 digests of the accepted keys; none = no key needed."""

    version: str
    key_hashes: tuple[bytes, ...] = ()
    max_body_bytes: int = 64 * 1024 * 1024
    max_upload_bytes: int = 2 * 1024**3
    max_documents: int = 10_000
    wait_limit_s: float = 30.0


def hash_key(key: str) -> bytes:
    """sha256 digest of an API key; keys given as `sha256:<hex>` are taken as already hashed."""
    if key.startswith("sha256:"):
        return bytes.fromhex(key.removeprefix("sha256:"))
    return hashlib.sha256(key.encode()).digest()
