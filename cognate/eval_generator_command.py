"""The command `eval-generator`: measures a generator by task on rows of {task, source, target}."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from cognate.terminal import Terminal
from core.errors import InvalidInput, StartRefused
from core.generation_types import GenerationOptions, GenerationTask

if TYPE_CHECKING:  # the heavy rooms are loaded when the command runs
    from core.ports.generation import Generator
    from evaluation.generation import Sources, TaskResult


def evaluate_generator(
    rows: Annotated[list[Path], typer.Argument(help="JSONL files of {task, source, target}, also .gz.")],
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="Generator folder; default: the shipped one.")
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only this task; may be given again.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Sources a task at most.")] = None,
    beams: Annotated[int, typer.Option(help="1 takes the most probable token each time.")] = 4,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for all values and 50 texts a task.")
    ] = None,
    write: Annotated[bool, typer.Option(help="Record in the model folder which tasks are stable.")] = False,
    encoder: Annotated[Path | None, typer.Option(help="Encoder folder; default: the shipped one.")] = None,
    precision: Annotated[str, typer.Option(help="Arithmetic of the encoder.")] = "int8",
) -> None:
    """Measure a generator on held-out rows, beside baselines that generate nothing."""
    try:
        from evaluation.generation import read_generation_rows
        from evaluation.results import require_place
    except ImportError as error:
        raise StartRefused(f"Measuring generators needs {error.name}; install the extra 'train'.") from None

    if json_file is not None:
        require_place(json_file)
    console = Terminal()
    data = _chosen([sources for path in rows for sources in read_generation_rows(path, limit)], task)
    with _opened(model, encoder, precision) as generator:
        results = list(_measured(generator, data, beams, console))
    console.print(_table(results))
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(result) for result in results], indent=1, ensure_ascii=False))
    if write:
        _record(model, results)


def _chosen(data: Sequence[Sources], tasks: Sequence[str] | None) -> list[Sources]:
    known = {sources.task for sources in data}
    for task in tasks or ():
        if task not in known:
            raise InvalidInput(f"--task is {task!r}; the files have rows of {', '.join(sorted(known))}.")
    return [sources for sources in data if not tasks or sources.task in tasks]


@contextmanager
def _opened(model: Path | None, encoder_folder: Path | None, precision: str) -> Iterator[Generator]:
    from encoder.generators import open_generator
    from encoder.service import load_encoder

    encoder = load_encoder(encoder_folder, precision=precision)
    try:
        generator = open_generator(model, encoder)
        try:
            yield generator
        finally:
            generator.close()
    finally:
        encoder.close()


def _measured(
    generator: Generator, data: Sequence[Sources], beams: int, console: Console
) -> Iterator[TaskResult]:
    from evaluation.generation import evaluate_task

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    options = GenerationOptions(beams=beams, max_new_tokens=generator.info.max_new_tokens)
    with Progress(*columns, console=console) as bar:
        for sources in data:
            line = bar.add_task(str(sources.task), total=len(sources.sources))
            yield evaluate_task(
                generator,
                sources,
                options,
                lambda done, _, line=line: bar.update(line, completed=done),  # type: ignore[misc]
            )


def _table(results: Sequence[TaskResult]) -> Table:
    from evaluation.generation import compared_by

    table = Table("task", "texts", "measures", "baselines", "required", "standing")
    for result in results:
        standing, compared = result.standing, compared_by(result.task)
        table.add_row(
            str(result.task),
            f"{result.texts:,}",
            _values(result.measures),
            "\n".join(
                f"{name}: {values[compared]:.3f} {compared}" for name, values in result.baselines.items()
            ),
            f"{standing.measure} {standing.required:.3g}",
            "stable" if standing.is_stable else "experimental",
        )
    return table


def _values(measures: Mapping[str, float]) -> str:
    return "\n".join(f"{name} {value:.3f}" for name, value in measures.items())


def _record(model: Path | None, results: Sequence[TaskResult]) -> None:
    """Writes the standings of the measured tasks into the folder, beside those of other tasks."""
    from encoder.generator import shipped_generator
    from encoder.generator_checkpoint import load_generator_checkpoint, write_generator_config

    folder = model or shipped_generator()
    config = load_generator_checkpoint(folder).config
    standings = {standing.task: standing for standing in config.tasks}
    standings |= {result.task: result.standing for result in results}
    tasks = tuple(standings[task] for task in GenerationTask if task in standings)
    write_generator_config(folder, replace(config, tasks=tasks))
