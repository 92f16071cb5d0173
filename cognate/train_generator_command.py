"""The command `train generator`: a generator folder from a user's own rows and texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from cognate.progress import plain_lines
from cognate.terminal import Terminal
from cognate.train_command import Bf16, Minutes, ModelId, Out, Seed, Steps, Threads
from core.errors import InvalidInput, StartRefused

if TYPE_CHECKING:
    from encoder.training.generation_loop import GenerationProgress
    from encoder.training.generation_settings import GeneratorSettings
    from encoder.training.train_generator import GeneratorReport


def train_generator(
    files: Annotated[list[Path], typer.Argument(help="JSONL files of {task, source, target}, also .gz.")],
    out: Out,
    texts: Annotated[
        list[Path] | None, typer.Option(help="JSONL of {text} to learn the language from; may be repeated.")
    ] = None,
    share: Annotated[
        list[str] | None,
        typer.Option(help="TASK=SHARE of the target tokens, 1 unless told; may be repeated."),
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="Encoder folder whose states it reads; default: the shipped one.")
    ] = None,
    start: Annotated[Path | None, typer.Option(help="Generator folder to go on from.")] = None,
    steps: Steps = 20_000,
    minutes: Minutes = None,
    batch_tokens: Annotated[int, typer.Option(help="Tokens a step, about.")] = 2048,
    learning_rate: Annotated[float, typer.Option(help="Peak.")] = 1e-3,
    vocabulary: Annotated[int, typer.Option(help="Tokens of a new vocabulary.")] = 4096,
    width: Annotated[int, typer.Option(help="Of a new model, a multiple of its heads.")] = 256,
    layers: Annotated[int, typer.Option(help="Decoder blocks of a new model.")] = 4,
    bf16: Bf16 = False,
    threads: Threads = 0,
    seed: Seed = 0,
    model_id: ModelId = None,
) -> None:
    """Train a generator; an interrupted run goes on when the same command is given again."""
    try:
        from encoder.service import shipped_model
        from encoder.training.generation_settings import GeneratorSettings, GeneratorShape
        from encoder.training.pairs import require_file
        from encoder.training.train_generator import train_generator as train
    except ImportError as error:
        raise StartRefused(f"Training needs {error.name}; install the extra 'train'.") from None
    settings = GeneratorSettings(
        encoder=encoder or shipped_model(),
        rows=tuple(files),
        out=out,
        texts=tuple(texts or ()),
        shares=dict(_share(argument) for argument in share or ()),
        start=start,
        shape=GeneratorShape(vocab_size=vocabulary, d=width, layers=layers, intermediate=4 * width),
        model_id=model_id or out.resolve().name,
        steps=steps,
        max_seconds=None if minutes is None else minutes * 60,
        batch_tokens=batch_tokens,
        learning_rate=learning_rate,
        bf16=bf16,
        threads=threads,
        seed=seed,
    )
    for file in (*settings.rows, *settings.texts):
        require_file(file, "rows" if file in settings.rows else "texts")
    console = Terminal()
    _summarise_generator(_with_bars(train, settings, console), console)


def _with_bars(
    train: Callable[..., GeneratorReport], settings: GeneratorSettings, console: Console
) -> GeneratorReport:
    """Trains, and shows how far reading and training have come."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        reading = bar.add_task("reading sources", total=None)
        training = bar.add_task("training", total=1.0)
        tell, tell_read = plain_lines(console), plain_lines(console)

        def show(progress: GenerationProgress) -> None:
            by_time = progress.seconds / settings.max_seconds if settings.max_seconds else 0.0
            done = max(progress.step / settings.steps, by_time)
            bar.update(training, completed=done, description=f"loss {progress.loss:.3f}")
            tell(f"step {progress.step}, {done:.0%}: loss {progress.loss:.3f}")

        def show_reading(done: int, total: int) -> None:
            bar.update(reading, completed=done, total=total)
            tell_read(f"sources read: {done:,} of {total:,}")

        return train(settings, show, show_reading)


def _summarise_generator(report: GeneratorReport, console: Console) -> None:
    minutes = report.seconds / 60
    console.print(f"{report.steps} steps in {minutes:.1f} minutes, {report.tokens:,} target tokens.")
    losses = ", ".join(f"{task} {loss:.2f}" for task, loss in report.dev.items())
    console.print(f"Held-out losses in nats a token: {losses or 'none, for there are too few rows'}.")
    console.print(f"The model is in {report.folder} ({report.weights:,} weights).", soft_wrap=True)
    console.print(f"Learning curves: {report.curves}", soft_wrap=True)
    summary = {name: getattr(report, name) for name in ("weights", "steps", "seconds", "tokens")}
    (report.folder / "training.json").write_text(json.dumps(summary | {"dev": dict(report.dev)}, indent=1))


def _share(argument: str) -> tuple[str, float]:
    task, _, share = argument.partition("=")
    try:
        return task, float(share)
    except ValueError:
        raise InvalidInput(f"--share is {argument!r}; expected TASK=SHARE, such as split=2.") from None
