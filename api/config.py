"""What the HTTP edge needs to know; made from the settings by the composition root."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """Sizes in bytes. `key_hashes` are sha256 digests of the accepted keys; none = no key needed.

    `allowed_hosts` are names the Host header may have; none = any. Without keys it keeps web pages of other
    origins from reaching a loopback server through a name that points to it (DNS rebinding).
    `cors_origins` are those of web pages whose scripts may call; `*` alone = any.
    `default_classifier` answers in dialects whose requests name none. `precision` is told by `/info`.
    """

    version: str
    key_hashes: tuple[bytes, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    max_body_bytes: int = 64 * 1024 * 1024
    max_upload_bytes: int = 2 * 1024**3
    max_documents: int = 10_000
    wait_limit_s: float = 30.0
    default_classifier: str = ""
    precision: str = "f32"


HASHED: Final = "sha256:"  # before the digest of a key


def digest(key: str) -> bytes:
    """sha256 digest of an API key."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()


def stored_digest(setting: str) -> bytes:
    """Digest of a key as the settings give it: plain, or already hashed as `sha256:<hex>`.

    Raises ValueError when what follows `sha256:` is no digest.
    """
    if not setting.startswith(HASHED):
        return digest(setting)
    hashed = bytes.fromhex(setting.removeprefix(HASHED))
    if len(hashed) != hashlib.sha256().digest_size:
        raise ValueError(f"{len(hashed)} bytes are no sha256 digest")
    return hashed
