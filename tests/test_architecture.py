"""The import table: which room may import which, and which libraries live in one room alone."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ROOMS = (
    "core",
    "encoder",
    "evaluation",
    "indexer",
    "classifier",
    "storage",
    "migrations",
    "workers",
    "api",
    "cognate",
)

MAY_IMPORT = {
    "core": set(),
    "encoder": {"core"},
    "evaluation": {"core"},
    "indexer": {"core"},
    "classifier": {"core"},
    "storage": {"core"},
    "migrations": {"core.errors", "storage.schema", "storage.urls", "cognate.settings"},
    "workers": {"core"},
    "api": {"core"},
    "cognate": set(ROOMS),
}
# Entry points are the only modules of their room that may build the whole.
ENTRY_POINTS: dict[str, set[str]] = {}

LIVES_ONLY_IN = {
    "torch": {"encoder"},
    "tokenizers": {"encoder"},
    "safetensors": {"encoder"},
    "openvino": {"encoder"},
    "faiss": {"indexer"},
    "tantivy": {"indexer"},
    "pandas": {"indexer"},
    "pyarrow": {"indexer"},
    "ir_measures": {"evaluation"},
    "rouge_score": {"evaluation"},
    "sacrebleu": {"evaluation"},
    "sklearn": {"classifier", "evaluation"},
    "sqlalchemy": {"storage", "migrations"},
    "alembic": {"migrations"},
    "fsspec": {"storage"},
    "celery": {"workers"},
    "redis": {"workers"},
    "fastapi": {"api", "cognate"},
    "pydantic_settings": {"cognate"},
    "typer": {"cognate"},
}


def modules_of(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively; write the absolute name"
            assert node.module is not None
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def is_allowed(name: str, allowed: set[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in allowed)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_the_table_allows(room: str) -> None:
    offences = []
    for path in modules_of(room):
        relative = str(path.relative_to(ROOT))
        allowed = MAY_IMPORT[room] | {room} | ENTRY_POINTS.get(relative, set())
        for line, name in imports_of(path):
            if name.split(".")[0] in ROOMS and not is_allowed(name, allowed):
                offences.append(f"{relative}:{line} imports {name}")
    assert not offences, "\n".join(offences)


@pytest.mark.parametrize("room", ROOMS)
def test_a_library_is_imported_only_in_its_own_room(room: str) -> None:
    offences = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules_of(room)
        for line, name in imports_of(path)
        if room not in LIVES_ONLY_IN.get(name.split(".")[0], {room})
    ]
    assert not offences, "\n".join(offences)


def test_core_imports_nothing_but_the_standard_library_and_numpy() -> None:
    allowed = {"core", "numpy", *sys.stdlib_module_names}
    offences = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules_of("core")
        for line, name in imports_of(path)
        if name.split(".")[0] not in allowed
    ]
    assert not offences, "\n".join(offences)


def test_no_module_is_part_of_an_import_cycle() -> None:
    graph = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for room in ROOMS
        for path in modules_of(room)
    }
    edges = {
        name: {t for _, i in imports_of(path) for t in _targets(i, graph)} for name, path in graph.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for target in sorted(edges[name] - {name}):
                visit(target, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def _targets(imported: str, graph: dict[str, Path]) -> set[str]:
    """The module that `imported` names, or the module it is a name of."""
    parent = imported.rpartition(".")[0]
    return {imported} if imported in graph else {parent} & set(graph)
