"""A run's state on disk, written aside and renamed, so that an interrupted run can go on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.errors import CheckpointError

STATE = "training.pt"


@dataclass(frozen=True, slots=True)
class RunState:
    """`trained` are the trained tensors by name; `progress` are the rows reported so far."""

    step: int
    seconds: float
    tokens: int
    trained: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    progress: list[dict[str, Any]]


def run_key(settings: str, weights: str, files: Iterable[Path]) -> str:
    """Equal for runs that may continue each other: settings, weights by fingerprint, what the files hold."""
    return " ".join([settings, weights, *map(_sha256, files)])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_state(folder: Path, key: str, state: RunState) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {name: getattr(state, name) for name in RunState.__slots__}
    content |= {"key": key, "rng": torch.get_rng_state(), "gpu_rng": _gpu_rng()}
    aside = folder / f"{STATE}.new"
    torch.save(content, aside)
    os.replace(aside, folder / STATE)


def load_state(folder: Path, key: str) -> RunState | None:
    """The state of the same run, None where there is none; restores torch's random numbers, of GPUs too.

    Raises CheckpointError for the state of another run and for a damaged file.
    """
    found = _read_state(folder, key)
    if found is None:
        return None
    state, rng, gpu_rng = found
    torch.set_rng_state(rng)
    if len(gpu_rng) == len(_gpu_rng()):  # else the run goes on elsewhere, with other random numbers
        torch.cuda.set_rng_state_all(gpu_rng)
    return state


def _gpu_rng() -> list[torch.Tensor]:
    """Of each GPU there is; dropout there draws from these."""
    return torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def require_same_run(folder: Path, key: str) -> None:
    """Raises CheckpointError where `load_state` would, before work is done in vain."""
    _read_state(folder, key)


def _read_state(folder: Path, key: str) -> tuple[RunState, torch.Tensor, list[torch.Tensor]] | None:
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found, rng, gpu_rng = content.pop("key"), content.pop("rng"), content.pop("gpu_rng", [])
        state = RunState(**content)
    except Exception as error:  # torch raises what its parts raise
        raise CheckpointError(f"{path} is damaged: {error}. Delete it to start again.") from error
    if found != key:
        raise CheckpointError(
            f"{path} belongs to a run with other settings, files, contents of files, encoder or start; give "
            f"the same to go on, another output folder, or delete the file to start again."
        )
    return state, rng, gpu_rng


def delete_state(folder: Path) -> None:
    (folder / STATE).unlink(missing_ok=True)
