"""The options of the commands."""

from pathlib import Path
from typing import Annotated

import typer

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


TestUnits = Annotated[
    int | None,
    typer.Option("--test-units", "--test-premises", min=1, help="a fixed subset of that many test units (premises, …)"),
]


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
