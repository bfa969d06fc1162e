"""Make the tiny backbone: tokenizer, masked language model and model card, from the logic grammar.

    python scripts/make_tiny.py --steps 6000 --seed 0 --out xlbench/tiny

Masked language modelling over 15 languages on the CPU. Batches hold texts of one length, so that nothing is
padded; the vocabulary is scored at masked positions only.
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
from tiny_card import write_card
from tiny_corpus import read
from tiny_masking import NOTHING, Masker
from tiny_tokenizer import train_tokenizer
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForMaskedLM

LEARNING_RATE = 5e-4  # what xlbench takes for this backbone where none is asked for
WEIGHT_DECAY, WARM_UP = 0.01, 0.04
LONGEST = 128


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    seed: int = 0
    steps: int = 6000
    vocabulary: int = 7000
    width: int = 128
    layers: int = 4
    heads: int = 4
    learning_rate: float = 3e-3
    tokens: int = 2048


Batch = tuple[torch.Tensor, torch.Tensor]  # what the model sees and what it is asked, each (texts, length)


def batches(tokenizer: PreTrainedTokenizerFast, seed: int, tokens: int) -> Iterator[Batch]:
    """About `tokens` tokens at a time: texts of one length together, unpadded."""
    rng, texts = random.Random(seed), read(seed)
    masker = Masker(tokenizer, list(itertools.islice(texts, 20_000)), seed)
    waiting: dict[int, list[tuple[list[int], list[int]]]] = defaultdict(list)
    while True:
        for seen, asked in map(masker, itertools.islice(texts, 8192)):
            if len(seen) <= LONGEST and any(gold != NOTHING for gold in asked):
                waiting[len(seen)].append((seen, asked))
        ready = []
        for length, rows in waiting.items():
            size = max(1, tokens // length)
            while len(rows) >= size:
                both = torch.tensor(rows[:size])
                ready.append((both[:, 0], both[:, 1]))
                del rows[:size]
        rng.shuffle(ready)
        yield from ready


def pace(progress: float) -> float:
    """Learning-rate factor: up in a line, down in a cosine to nothing."""
    if progress < WARM_UP:
        return progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def build(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> XLMRobertaForMaskedLM:
    """A freshly initialised model."""
    torch.manual_seed(recipe.seed)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        intermediate_size=4 * recipe.width,
        max_position_embeddings=260,
        type_vocab_size=1,
        initializer_range=recipe.width**-0.5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = XLMRobertaForMaskedLM(config)
    embeddings = model.roberta.embeddings
    embeddings.word_embeddings.weight.data.normal_(0, 0.02)
    embeddings.position_embeddings.weight.data.copy_(waves(260, recipe.width))
    return model


def waves(positions: int, width: int) -> torch.Tensor:
    """Sines and cosines to start position embeddings from: so a layer can look a word back from the first step on."""
    pace = torch.exp(-math.log(1000) * torch.arange(0, width, 2) / width)
    angle = torch.arange(positions)[:, None] * pace
    return 0.03 * torch.cat([angle.sin(), angle.cos()], 1)


def optimisers(model: XLMRobertaForMaskedLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, which needs about half of AdamW's steps here; AdamW for the rest."""
    matrices = [weight for name, weight in model.named_parameters() if ".layer." in name and weight.ndim == 2]
    known = {id(weight) for weight in matrices}
    others = [weight for weight in model.parameters() if id(weight) not in known]
    groups = [
        {"params": [weight for weight in others if weight.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [weight for weight in others if weight.ndim == 1], "weight_decay": 0.0},
    ]
    return [
        torch.optim.Muon(matrices, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True),
    ]


def train(
    model: XLMRobertaForMaskedLM, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, minutes: float
) -> list[dict[str, float]]:
    """Masked language modelling; returns the log. Ends at `recipe.steps` or after `minutes`, whichever is first."""
    steppers = optimisers(model, recipe)
    log, recent, began = [], [], time.perf_counter()
    model.train()
    for step, (seen, asked) in enumerate(batches(tokenizer, recipe.seed, recipe.tokens), 1):
        progress = max(step / recipe.steps, (time.perf_counter() - began) / 60 / minutes)
        if progress > 1:
            break
        hidden = asked != NOTHING
        logits, gold = model.lm_head(model.roberta(input_ids=seen).last_hidden_state[hidden]), asked[hidden]
        loss = F.cross_entropy(logits, gold)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for stepper in steppers:
            for group in stepper.param_groups:
                group["lr"] = recipe.learning_rate * pace(progress)
            stepper.step()
            stepper.zero_grad()
        recent.append((loss.item(), (logits.argmax(1) == gold).float().mean().item()))
        if step % 250 == 0:
            mean_loss, accuracy = np.mean(recent, 0).tolist()
            seconds = time.perf_counter() - began
            typer.echo(f"step {step:5d}  loss {mean_loss:.3f}  restored {accuracy:.1%}  {seconds:.0f} s")
            log.append({"step": step, "loss": mean_loss, "accuracy": accuracy, "seconds": seconds})
            recent.clear()
    return log


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
    minutes: Annotated[float, typer.Option(help="stop after this long; the clock then sets the schedule")] = math.inf,
    seed: Annotated[int, typer.Option(help="decides corpus, weights and masks")] = Recipe.seed,
    width: Annotated[int, typer.Option(help="of the hidden states")] = Recipe.width,
    layers: Annotated[int, typer.Option(help="Transformer layers")] = Recipe.layers,
    heads: Annotated[int, typer.Option(help="attention heads a layer")] = Recipe.heads,
    vocabulary: Annotated[int, typer.Option(help="at most so many pieces")] = Recipe.vocabulary,
    learning_rate: Annotated[float, typer.Option(help="at its highest")] = Recipe.learning_rate,
    tokens: Annotated[int, typer.Option(help="tokens a step, about")] = Recipe.tokens,
    threads: Annotated[int, typer.Option(help="CPU threads")] = 2,
) -> None:
    """Make the tiny multilingual masked language model."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    recipe = Recipe(
        seed=seed,
        steps=steps,
        width=width,
        layers=layers,
        heads=heads,
        vocabulary=vocabulary,
        learning_rate=learning_rate,
        tokens=tokens,
    )
    began = time.perf_counter()
    tokenizer = train_tokenizer(recipe.vocabulary, recipe.seed)
    typer.echo(f"tokenizer: {len(tokenizer)} pieces, {time.perf_counter() - began:.0f} s")
    model = build(recipe, tokenizer)
    log = train(model, tokenizer, recipe, minutes)
    save(model, tokenizer, out)
    size = sum(weight.numel() for weight in model.parameters())
    write_card(out, asdict(recipe), log, time.perf_counter() - began, commit(), len(tokenizer), size)


if __name__ == "__main__":
    typer.run(main)
