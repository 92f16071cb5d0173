"""Reads docker-compose.yml as a container engine does, for running its services as local processes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

COMPOSE_FILE = Path(__file__).parent.parent.parent / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?P<kind>:[-?])(?P<word>[^}]*)\}")


def services(variables: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Every service with variables filled in; those without a value are handed on, or left out if not given.

    Raises KeyError for one that is required and not given.
    """

    def fill(node: Any) -> Any:
        if isinstance(node, dict):
            return {
                key: variables[key] if value is None else fill(value)
                for key, value in node.items()
                if value is not None or key in variables
            }
        if isinstance(node, list):
            return [fill(item) for item in node]
        return _VARIABLE.sub(value_of, node) if isinstance(node, str) else node

    def value_of(found: re.Match[str]) -> str:
        if found["kind"] == ":-":
            return variables.get(found["name"]) or found["word"]
        return variables[found["name"]]

    filled: dict[str, dict[str, Any]] = fill(yaml.safe_load(COMPOSE_FILE.read_text())["services"])
    return filled


@dataclass(frozen=True, slots=True)
class Substitution:
    """What is elsewhere when no container runs: text -> text, applied to commands and environments."""

    of: Mapping[str, str]

    def apply(self, text: str) -> str:
        places = "|".join(re.escape(place) for place in self.of)
        return re.sub(places, lambda found: self.of[found[0]], text)  # in one pass: none finds another's text

    def command(self, words: list[str]) -> list[str]:
        """The command of a service, or of a health check in its CMD and CMD-SHELL forms."""
        if words[0] == "CMD":
            words = words[1:]
        elif words[0] == "CMD-SHELL":
            words = ["/bin/sh", "-c", words[1]]
        return [self.apply(word) for word in words]

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        return {name: self.apply(value) for name, value in variables.items()}
