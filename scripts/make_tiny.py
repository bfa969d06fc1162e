"""Make the tiny backbone: tokenizer, masked language model and model card, from the logic grammar.

    python scripts/make_tiny.py --out build/tiny
    python scripts/make_tiny.py --start build/tiny --seed 1 --dialogues 0.75 --out xlbench/tiny

Masked language modelling on the CPU: English dialogues first, lesson by lesson, then with them texts and
translations in 15 languages. Batches hold texts of one length, so that nothing is padded; the vocabulary is scored
at masked positions only.
"""

import itertools
import json
import math
import random
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from tiny_card import Making, write_card
from tiny_corpus import read
from tiny_dialogues import Lessons, dialogues
from tiny_masking import NOTHING, Masker
from tiny_tokenizer import train_tokenizer
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForMaskedLM

LEARNING_RATE = 5e-4  # what xlbench takes for this backbone where none is asked for
WEIGHT_DECAY, WARM_UP, COOL_DOWN = 0.01, 100, 0.4
LONGEST, POOL = 96, 2048
# Other texts come in slowly: at first few of them, of little weight. All at once, they undo what the lessons taught.
FIRST_DIALOGUES, FIRST_WEIGHT = 0.85, 0.1


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    seed: int = 0
    steps: int = 9000
    vocabulary: int = 7000
    width: int = 128
    inner_width: int = 256
    layers: int = 4
    heads: int = 4
    learning_rate: float = 5e-4
    tokens: int = 1536
    dialogues: float = 0.6  # share of the texts, once all lessons have begun


Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # seen, asked: (texts, length); whether a dialogue: (texts,)


def batches(tokenizer: PreTrainedTokenizerFast, recipe: Recipe, lessons: Lessons) -> Iterator[Batch]:
    """About `recipe.tokens` tokens at a time: texts of one length together, unpadded."""
    rng, texts = random.Random(recipe.seed), read(recipe.seed)
    masker = Masker(tokenizer, list(itertools.islice(texts, 20_000)), recipe.seed)
    talks = (masker.ask(dialogue) for dialogue in dialogues(rng, lessons))
    others = (text for text in map(masker, texts) if any(gold != NOTHING for gold in text[1]))
    waiting: dict[int, list[tuple[list[int], list[int], bool]]] = defaultdict(list)
    while True:
        talking = between(FIRST_DIALOGUES, recipe.dialogues, lessons.opened)
        for _ in range(POOL):
            talk = rng.random() < talking
            seen, asked = next(talks if talk else others)
            if len(seen) <= LONGEST:
                waiting[len(seen)].append((seen, asked, talk))
        ready = []
        for length, rows in waiting.items():
            size = max(1, recipe.tokens // length)
            while len(rows) >= size:
                ready.append(tuple(map(torch.tensor, zip(*rows[:size], strict=True))))
                del rows[:size]
        rng.shuffle(ready)
        yield from ready  # type: ignore[misc]  # three tensors each


def pace(step: int, progress: float) -> float:
    """Learning-rate factor: up in a line, flat, and in the last part down in a line."""
    return min(1.0, step / WARM_UP, (1 - progress) / COOL_DOWN + 0.01)


def build(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> XLMRobertaForMaskedLM:
    """A freshly initialised model, in which words look at the same word elsewhere from the first step on.

    Keys equal queries (after the idea of mimetic initialisation, Trockman & Kolter 2023, arXiv 2305.09828), and
    positions start as weak waves. With random keys the model stays at chance for many times as long.
    """
    torch.manual_seed(recipe.seed)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        intermediate_size=recipe.inner_width,
        max_position_embeddings=260,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = XLMRobertaForMaskedLM(config)
    embeddings = model.roberta.embeddings
    embeddings.position_embeddings.weight.data.copy_(waves(260, recipe.width))
    for layer in model.roberta.encoder.layer:
        attention = layer.attention.self
        torch.nn.init.orthogonal_(attention.query.weight, gain=1.5)
        attention.key.weight.data.copy_(attention.query.weight)
    return model


def waves(positions: int, width: int) -> torch.Tensor:
    """Sines and cosines to start position embeddings from, weaker than words: (positions, width)."""
    angle = torch.arange(positions)[:, None] * torch.exp(-math.log(100) * torch.arange(0, width, 2) / width)
    return 0.014 * torch.cat([angle.sin(), angle.cos()], 1)


def train(
    model: XLMRobertaForMaskedLM, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, lessons: Lessons
) -> list[dict[str, float]]:
    """Masked language modelling; returns the log."""
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY, fused=True
    )
    log, recent, began = [], [], time.perf_counter()
    model.train()
    for step, (seen, asked, talk) in enumerate(batches(tokenizer, recipe, lessons), 1):
        if step > recipe.steps:
            break
        hidden = asked != NOTHING
        answers = talk[:, None].expand_as(hidden)[hidden]
        logits, gold = model.lm_head(model.roberta(input_ids=seen).last_hidden_state[hidden]), asked[hidden]
        losses = F.cross_entropy(logits, gold, reduction="none")
        weights = torch.where(answers, 1 / answers.sum(), between(FIRST_WEIGHT, 1.0, lessons.opened) / (~answers).sum())
        (weights * losses).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * pace(step, step / recipe.steps)
        optimiser.step()
        optimiser.zero_grad()
        right = logits.argmax(1) == gold
        lesson = lessons.see(right[answers].tolist())
        if lesson:
            typer.echo(f"step {step:5d}  lesson: {lesson}")
        recent.append((losses.mean().item(), share(right[~answers]), share(right[answers])))
        if step % 250 == 0:
            mean_loss, restored, answered = np.nanmean(recent, 0).tolist()
            seconds = time.perf_counter() - began
            entry = {"step": step, "loss": mean_loss, "restored": restored, "answered": answered, "seconds": seconds}
            typer.echo(
                "step {step:5d}  loss {loss:.3f}  restored {restored:.1%}  answered {answered:.1%}  "
                "{seconds:.0f} s".format(**entry)
            )
            log.append(entry)
            recent.clear()
    return log


def between(first: float, last: float, progress: float) -> float:
    """On the way from one number to another."""
    return first + (last - first) * progress


def share(right: torch.Tensor) -> float:
    """Of these answers, how many are right; NaN of none."""
    return right.float().mean().item()


def save(model: XLMRobertaForMaskedLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Weights as 16-bit floats, to be loaded as 32-bit ones: the config says so."""
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(
        json.dumps(config | {"dtype": "float32", "recommended_learning_rate": LEARNING_RATE}, indent=2) + "\n"
    )


def commit() -> str:
    """The commit that this was made at, or why there is none."""
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else "none yet"


def main(
    out: Annotated[Path, typer.Option(help="folder to write")],
    steps: Annotated[int, typer.Option(help="optimiser steps")] = Recipe.steps,
    seed: Annotated[int, typer.Option(help="decides corpus, weights and masks")] = Recipe.seed,
    width: Annotated[int, typer.Option(help="of the hidden states")] = Recipe.width,
    inner_width: Annotated[int, typer.Option(help="of the feed-forward layers")] = Recipe.inner_width,
    layers: Annotated[int, typer.Option(help="Transformer layers")] = Recipe.layers,
    heads: Annotated[int, typer.Option(help="attention heads a layer")] = Recipe.heads,
    vocabulary: Annotated[int, typer.Option(help="at most so many pieces")] = Recipe.vocabulary,
    learning_rate: Annotated[float, typer.Option(help="at its highest")] = Recipe.learning_rate,
    tokens: Annotated[int, typer.Option(help="tokens a step, about")] = Recipe.tokens,
    dialogues: Annotated[float, typer.Option(help="share of dialogues once all lessons have begun")] = Recipe.dialogues,
    start: Annotated[Path | None, typer.Option(help="go on from this one, which has had all its lessons")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads")] = 2,
) -> None:
    """Make the tiny multilingual masked language model, or go on with one."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    recipe = Recipe(
        seed=seed,
        steps=steps,
        width=width,
        inner_width=inner_width,
        layers=layers,
        heads=heads,
        vocabulary=vocabulary,
        learning_rate=learning_rate,
        tokens=tokens,
        dialogues=dialogues,
    )
    began = time.perf_counter()
    lessons = Lessons()
    if start is None:
        tokenizer = train_tokenizer(recipe.vocabulary, recipe.seed)
        model = build(recipe, tokenizer)
    else:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(start)
        model = XLMRobertaForMaskedLM.from_pretrained(start, dtype=torch.float32)
        lessons.skip()
    typer.echo(f"tokenizer: {len(tokenizer)} pieces, {time.perf_counter() - began:.0f} s")
    log = train(model, tokenizer, recipe, lessons)
    save(model, tokenizer, out)
    size = sum(weight.numel() for weight in model.parameters())
    made = Making(asdict(recipe), log, time.perf_counter() - began, commit(), start)
    write_card(out, made, len(tokenizer), size)


if __name__ == "__main__":
    typer.run(main)
