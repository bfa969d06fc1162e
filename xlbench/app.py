"""The command line's frame: the app, its options, and how a mistake becomes one sentence."""

import functools
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from xlbench.errors import XlbenchError, one_line
from xlbench.host.plain_text import lines


class OneSentence(TyperGroup):
    """The commands. A mistake in the options is one sentence as well, in place of usage and a box."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        call = functools.partial(super().main, args, *rest, **{**extra, "standalone_mode": False})
        if not standalone_mode:
            return call()
        try:
            sys.exit(call() or 0)
        except typer.Abort:
            sys.exit(130)
        except Exception as fault:
            if not hasattr(fault, "format_message"):  # not one of typer's own
                raise
            if type(fault).__name__ == "NoArgsIsHelpError":
                echo(fault.format_message())
            else:
                echo(f"error: {one_line(fault.format_message())}", err=True)
            sys.exit(2)


def echo(text: object, err: bool = False, nl: bool = True) -> None:
    """Print, with nothing in it that a terminal would obey: texts come from plug-ins, records and files."""
    typer.echo(lines(text), err=err, nl=nl)


app = typer.Typer(
    cls=OneSentence,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Few-shot cross-lingual transfer methods, compared under equal conditions.",
)
Command = TypeVar("Command", bound=Callable[..., None])


def command(name: str | None = None) -> Callable[[Command], Command]:
    """A command of the app whose mistakes become one sentence and an exit code, never a traceback."""

    def register(function: Command) -> Command:
        @app.command(name)
        @functools.wraps(function)
        def kind(*args: Any, **kwargs: Any) -> None:
            try:
                function(*args, **kwargs)
            except XlbenchError as fault:
                echo(f"error: {one_line(fault)}", err=True)
                raise typer.Exit(2) from None
            except KeyboardInterrupt:
                typer.echo("stopped; what was finished is kept, and the same command goes on from there", err=True)
                raise typer.Exit(130) from None
            except (typer.Exit, typer.Abort):
                raise
            except Exception as fault:
                if os.environ.get("XLBENCH_TRACEBACK"):
                    raise
                where = traceback.extract_tb(fault.__traceback__)[-1]
                echo(
                    f"failed: {type(fault).__name__}: {one_line(fault)} ({Path(where.filename).name}:{where.lineno}); "
                    "XLBENCH_TRACEBACK=1 shows how it came to that",
                    err=True,
                )
                raise typer.Exit(1) from None

        return function

    return register


Settings = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="a setting of the method")]
With = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="FIELD=VALUE", help="a field of the run without an option: training.clip=0.5"),
]
Plugin = Annotated[
    list[str] | None, typer.Option("--plugin", metavar="FILE_OR_MODULE", help="plug-in code to load and run")
]
Runs = Annotated[str, typer.Option(help="folder of the records, or a URL that fsspec knows: s3://bucket/runs")]
DataRoot = Annotated[
    Path | None,
    typer.Option(help="folder that replaces the dataset hub: DIR/<hub id>/<config>/<split>.parquet"),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:n")]
Executor = Annotated[
    str | None,
    typer.Option(help="local: in this process; processes: in workers; ray: on a Ray cluster; by --jobs if left out"),
]
Address = Annotated[
    str | None, typer.Option(metavar="HOST:PORT|auto", help="the Ray cluster; RAY_ADDRESS or this machine if left out")
]
CellCpus = Annotated[int | None, typer.Option(metavar="N", help="CPUs (torch threads) of a cell on a Ray cluster")]
CellGpus = Annotated[float | None, typer.Option(metavar="SHARE", help="GPUs of a cell on a Ray cluster, as 0.25")]
Jobs = Annotated[
    str | None,
    typer.Option(metavar="N|auto", help="cells at once, each in a process; auto: what cores and memory hold"),
]
CellTimeout = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="end a cell that takes longer; needs processes or ray"),
]
Shard = Annotated[str | None, typer.Option(metavar="I/N", help="run only cells I, I+N, …, for array jobs")]
LogJson = Annotated[Path | None, typer.Option(metavar="FILE", help="append a JSON line for each cell's start and end")]
CheckpointMinutes = Annotated[
    float,
    typer.Option(metavar="MINUTES", help="keep the state of training so often, to go on if it is killed; 0: never"),
]
Tracker = Annotated[
    str | None,
    typer.Option(metavar="NAME[=PLACE]", help="tensorboard, mlflow or trackio: hears of runs as they train"),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress")]
Languages = Annotated[str | None, typer.Option(help="test languages, as en,fr,sw; all if left out")]
TestPremises = Annotated[int | None, typer.Option(min=1, help="a fixed subset of that many test premises")]
Split = Annotated[str | None, typer.Option(help="a published fixed few-shot split, such as zhao-schuetze")]
Model = Annotated[str | None, typer.Option(help="masked language model: hub id, folder, or tiny")]
Revision = Annotated[str | None, typer.Option(help="commit, branch or tag of a hub model")]
Tune = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WHAT_OR_N",
        help="what trains of the backbone: all, lora or frozen; or how many configurations to try of each method, "
        "chosen by source dev; may be given twice, once for each",
    ),
]
MaxLength = Annotated[int | None, typer.Option(help="longest input in tokens")]
Precision = Annotated[str | None, typer.Option(help="auto, fp32 or bf16")]
Selection = Annotated[str | None, typer.Option(help="source-dev, last, average-last or oracle-target-dev")]
Parallel = Annotated[str | None, typer.Option(help="parallel corpus: paws-x, ntrex-128, or the task's own")]
ParallelSize = Annotated[int | None, typer.Option(min=1, help="translated pairs per target language")]
Steps = Annotated[int | None, typer.Option(min=1, help="optimiser steps (in place of epochs)")]
Epochs = Annotated[int | None, typer.Option(min=1, help="passes over the shots")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="shots a step")]
LearningRate = Annotated[float | None, typer.Option(help="AdamW's step size")]
Warmup = Annotated[float | None, typer.Option(help="share of the steps in which the rate rises")]
Checkpoints = Annotated[int | None, typer.Option(min=1, help="points at which a state may be selected")]
Picture = Annotated[Path | None, typer.Option(metavar="FILE.svg", help="also draw the board as a picture")]
TokenBudget = Annotated[
    int | None, typer.Option(min=64, help="tokens in one evaluation batch; by the device if left out")
]
