"""How long the grid of the MPT paper takes at XLM-R-base's size: one draw of it computed, the others by arithmetic.

    python benchmarks/paper_grid.py [--data-root DIR] [--tokenizer FOLDER] [--jobs auto]

The suite is `mpt-paper`, its model a random one of XLM-R-base's shape (speed does not care), with the tokenizer of a
folder (give one with XLM-R's words, or texts become longer than they are) or tiny's. Without a data root the task is
`logic`. Made for a GPU; `--layers 2 --width 48 --shots 1 2 --epochs 1` tries it anywhere.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

import torch
from growth import untouched

import xlbench
from xlbench.backbone import TINY
from xlbench.spec.words import suite_file

STAGES = ("setup", "encoding", "training", "evaluation", "test")


def random_model(
    folder: Path, tokenizer: str | Path = TINY, width: int = 768, layers: int = 12, heads: int = 12
) -> str:
    """A model of XLM-R's family with random weights and as many words, four times as wide inside as outside."""
    from transformers import AutoTokenizer, XLMRobertaConfig, XLMRobertaForMaskedLM

    splits = AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)
    config = XLMRobertaConfig(
        vocab_size=max(250_002, len(splits)), hidden_size=width, num_hidden_layers=layers,
        num_attention_heads=heads, intermediate_size=4 * width, max_position_embeddings=514,
        pad_token_id=splits.pad_token_id, bos_token_id=splits.bos_token_id, eos_token_id=splits.eos_token_id,
        type_vocab_size=1,
    )  # fmt: skip
    torch.manual_seed(0)
    XLMRobertaForMaskedLM(config).save_pretrained(folder)
    splits.save_pretrained(folder)
    return str(folder)


def one_draw(suite: xlbench.Suite, asked: argparse.Namespace, model: str) -> xlbench.Suite:
    """The suite with its first draw alone, on this model, with as many shots and epochs as were asked for."""
    fields = suite.model_dump()
    run = {**fields["run"], "model": model}
    if not asked.data_root:
        run |= {"task": "logic", "parallel": None}
    if asked.epochs:
        run["training"] = {**run["training"], "epochs": asked.epochs, "checkpoints": asked.epochs}
    shots = asked.shots or suite.shots
    return xlbench.Suite(**{**fields, "draws": 1, "shots": tuple(shots), "run": run})


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute one draw, print what it took by shots and stage, and what the suite takes by that."""
    parser = argparse.ArgumentParser(description="the MPT paper's grid, extrapolated from one draw")
    parser.add_argument("--data-root", type=Path, help="folder with XNLI; the task logic where left out")
    parser.add_argument("--tokenizer", default=TINY, help="folder of a tokenizer; tiny's where left out")
    parser.add_argument("--jobs", default="auto", help="workers: a number, or auto")
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--shots", type=int, nargs="*", help="of the suite's, all where left out")
    parser.add_argument("--epochs", type=int, help="the suite's where left out")
    asked = parser.parse_args(arguments)
    whole = xlbench.Suite.read(suite_file("mpt-paper"))
    with untouched() as folder:
        model = random_model(folder / "model", asked.tokenizer, asked.width, asked.layers)
        suite = one_draw(whole, asked, model)
        here = xlbench.Runtime(
            runs=folder / "runs", data_root=asked.data_root, quiet=True, executor="processes",
            jobs=asked.jobs if asked.jobs == "auto" else int(asked.jobs),
        )  # fmt: skip
        began, clock = datetime.now(UTC), time.perf_counter()
        table = xlbench.compare(suite, here)
        wall = time.perf_counter() - clock
        records = list(xlbench.store_at(here.runs).records())
    if len(table) < len(list(suite.cells())):
        raise SystemExit(f"not all cells ran: {'; '.join([*table.attrs['failed'], *table.attrs['skipped']])}")
    report(records, began, wall, whole.draws)
    return 0


def report(done: Sequence[xlbench.Record], began: datetime, wall: float, draws: int) -> None:
    """Print seconds by number of shots and stage, and the arithmetic.

    What only the first draw pays (token ids, FLOPs counted) is counted for each.
    """
    before = max(0.0, (datetime.fromisoformat(min(one.started for one in done)) - began).total_seconds())
    by_shots: dict[int, list[xlbench.Record]] = defaultdict(list)
    for record in done:
        by_shots[record.spec.shots].append(record)
    print(f"{'shots':>6} {'cells':>6}" + "".join(f"{stage:>12}" for stage in STAGES) + "    mean seconds of a cell")
    for shots, of_them in sorted(by_shots.items()):
        means = [fmean(one.costs.get(f"{stage}_seconds", 0.0) for one in of_them) for stage in STAGES]
        print(f"{shots:>6} {len(of_them):>6}" + "".join(f"{mean:>12.2f}" for mean in means))
    device = done[0].environment["device_name"]
    print(f"{len(done)} cells, one draw, on {device}: {wall:.0f} s, of which {before:.0f} s before the first cell")
    seconds = before + draws * (wall - before)
    print(
        f"{draws} draws: {before:.0f} + {draws} × ({wall:.0f} − {before:.0f}) = {seconds:.0f} s, {seconds / 60:.1f} min"
    )


if __name__ == "__main__":
    sys.exit(main())
