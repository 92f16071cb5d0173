"""Real text that every machine has: the docstrings of the Python standard library."""

from __future__ import annotations

import ast
import inspect
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SKIPPED_FOLDERS = {"test", "tests", "idle_test", "site-packages", "__pycache__", "lib2to3", "turtledemo"}
MIN_LETTERS = 20


def stdlib_docstrings() -> Iterator[dict[str, Any]]:
    """One document mapping a docstring: id and title are the dotted name, metadata says module and kind."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if not SKIPPED_FOLDERS.intersection(relative.parts):
            yield from _docstrings_of(path, ".".join(relative.with_suffix("").parts))


def _docstrings_of(path: Path, module: str) -> Iterator[dict[str, Any]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's own invalid escapes are not our concern
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    seen: set[str] = set()
    for name, kind, text in _walk(tree, module.removesuffix(".__init__")):
        if name not in seen and sum(map(str.isalpha, text)) >= MIN_LETTERS:
            seen.add(name)
            yield {
                "id": name,
                "title": name,
                "text": inspect.cleandoc(text),
                "metadata": {"module": module.removesuffix(".__init__"), "kind": kind},
            }


def _walk(node: ast.AST, name: str) -> Iterator[tuple[str, str, str]]:
    kinds = {ast.Module: "module", ast.ClassDef: "class"}
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        if text := ast.get_docstring(node, clean=False):
            yield name, kinds.get(type(node), "function"), text.replace("\x00", " ")
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _walk(child, f"{name}.{child.name}")
