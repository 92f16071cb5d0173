"""`cognate train encoder`: trains a model folder on a user's own pairs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from core.errors import InvalidInput, StartRefused

if TYPE_CHECKING:
    from encoder.training import train
    from encoder.training.settings import PairFile, TrainSettings

train_app = typer.Typer(no_args_is_help=True, help="Train models on your own data.")


@train_app.callback()
def _group() -> None:
    """Keeps `encoder` a subcommand while it is the only one."""


@train_app.command()
def encoder(
    files: Annotated[
        list[str],
        typer.Argument(help="JSONL files of {query, text, title?, negatives?}; FILE=2 weighs double."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the trained model.")],
    start: Annotated[
        Path | None, typer.Option(help="Model folder to start from; default: the shipped one.")
    ] = None,
    mode: Annotated[str, typer.Option(help="class_attention, lora or full.")] = "lora",
    steps: Annotated[int, typer.Option(help="Steps at most.")] = 500,
    minutes: Annotated[float | None, typer.Option(help="Minutes at most.")] = None,
    batch_size: Annotated[int, typer.Option(help="Pairs a step.")] = 32,
    max_tokens: Annotated[int, typer.Option(help="Longest input while training.")] = 128,
    learning_rate: Annotated[float | None, typer.Option(help="Peak; default: by mode.")] = None,
    hard_negatives: Annotated[int, typer.Option(help="Mined or given negatives a pair.")] = 0,
    distil: Annotated[float, typer.Option(help="Weight of staying near the start model's vectors.")] = 1.0,
    distil_similarities: Annotated[
        float, typer.Option(help="Weight of staying near the start model's similarities within a batch.")
    ] = 1.0,
    last_layers: Annotated[int | None, typer.Option(help="Train only so many of the last blocks.")] = None,
    start_share: Annotated[float, typer.Option(help="Share of the start weights in the result.")] = 0.0,
    bf16: Annotated[bool, typer.Option(help="Mixed precision.")] = False,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes all cores.")] = 0,
    seed: Annotated[int, typer.Option(help="Of sampling and initialisation.")] = 0,
    model_id: Annotated[
        str | None, typer.Option(help="Name of the trained model; default: the folder's.")
    ] = None,
) -> None:
    """Train an encoder on pairs; an interrupted run goes on when the same command is given again."""
    try:
        from encoder.service import shipped_model
        from encoder.training import train  # noqa: F401  # with all it needs
        from encoder.training.settings import LossSettings, Mode, TrainSettings
    except ImportError as error:
        raise StartRefused(f"Training needs {error.name}; install the extra 'train'.") from None
    if mode not in list(Mode):
        raise InvalidInput(f"mode is {mode!r}; known are {', '.join(Mode)}.")
    settings = TrainSettings(
        start=start or shipped_model(),
        files=tuple(_pair_file(file, hard_negatives) for file in files),
        out=out,
        mode=Mode(mode),
        losses=LossSettings(embedding=distil, similarity=distil_similarities),
        model_id=model_id or out.name,
        steps=steps,
        max_seconds=None if minutes is None else minutes * 60,
        batch_size=batch_size,
        max_tokens=max_tokens,
        learning_rate=learning_rate,
        last_layers=last_layers,
        start_share=start_share,
        bf16=bf16,
        threads=threads,
        seed=seed,
    )
    _train(settings, Console())


def _train(settings: TrainSettings, console: Console) -> None:
    from encoder.training.train import train_encoder

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        report = train_encoder(settings, _shown(bar, settings.steps))
    _summarise(report, console)


def _pair_file(argument: str, hard_negatives: int) -> PairFile:
    from encoder.training.settings import PairFile

    path, _, weight = argument.rpartition("=") if "=" in argument else (argument, "", "1")
    try:
        return PairFile(Path(path), float(weight), hard_negatives)
    except ValueError:
        raise InvalidInput(f"{argument!r}: after '=' the weight of the file is expected, a number.") from None


def _shown(bar: Progress, steps: int) -> Callable[[train.Progress], None]:
    line = bar.add_task("training", total=steps)

    def show(progress: train.Progress) -> None:
        mrr = "" if progress.dev_mrr is None else f", held-out MRR {progress.dev_mrr:.3f}"
        description = f"loss {progress.loss:.3f}{mrr}" if mrr else f"loss {progress.loss:.3f}"
        bar.update(line, completed=progress.step, description=description)

    return show


def _summarise(report: train.TrainReport, console: Console) -> None:
    console.print(f"{report.steps} steps in {report.seconds / 60:.1f} minutes, {report.tokens:,} tokens.")
    console.print(f"MRR of held-out pairs: {report.start_mrr:.3f} before, {report.final_mrr:.3f} after.")
    console.print(f"The model is in {report.folder} (fingerprint {report.fingerprint[:12]}).", soft_wrap=True)
    if report.curves is not None:
        console.print(f"Learning curves: {report.curves}", soft_wrap=True)
    summary = {
        key: value for key, value in asdict(report).items() if key not in ("progress", "folder", "curves")
    }
    (report.folder / "training.json").write_text(json.dumps(summary, indent=1))
