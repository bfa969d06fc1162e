"""Measure the tiny backbone on the logic task, in plain PyTorch and without the harness.

    python scripts/measure_tiny.py --model xlbench/tiny

Full: fine-tuned on 2,000 English rows, tested in every language. Few: fine-tuning and a discrete prompt on 16
shots per class, several draws, each with the interval of its mean over draws.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from scipy.stats import t as student
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from xlbench.nli import QUESTION_WORDS
from xlbench.prompts import without_closing_punctuation
from xlbench.tasks.logic.grammar import LABELS, LANGUAGES, Item, items, render

Scorer = Callable[[Sequence[Item], str], Tensor]  # items, language → scores, (items, labels)


class FineTuning(nn.Module):
    """`<s> p </s></s> h </s>` and a classification head."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(LABELS))

    def forward(self, rows: Sequence[Item], language: str) -> Tensor:
        pairs = [render(row, language) for row in rows]
        return self.model(**self.tokenizer(pairs, padding=True, return_tensors="pt")).logits


class Prompt(nn.Module):
    """`<s> p </s></s> question: h? Answer: <mask> </s>`, template in the text's language, English label words."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForMaskedLM.from_pretrained(folder)
        words = [self.tokenizer.encode(word, add_special_tokens=False) for word in ("yes", "maybe", "no")]
        if any(len(word) > 1 for word in words):
            raise ValueError(f"the label words must be single pieces, not {words}")
        self.words = torch.tensor(words).flatten()

    def forward(self, rows: Sequence[Item], language: str) -> Tensor:
        question, answer, mark = QUESTION_WORDS[language]
        pairs = []
        for row in rows:
            premise, hypothesis = render(row, language)
            asked = without_closing_punctuation(hypothesis)
            pairs.append((premise, f"{question} {asked}{mark} {answer} {self.tokenizer.mask_token}"))
        batch = self.tokenizer(pairs, padding=True, return_tensors="pt")
        state = self.model.roberta(**batch).last_hidden_state[batch["input_ids"] == self.tokenizer.mask_token_id]
        return self.model.lm_head(state)[:, self.words]


def fit(model: nn.Module, rows: Sequence[Item], steps: int, batch: int, rate: float, seed: int) -> None:
    """AdamW with warm-up and linear decay on English rows."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, fused=True)
    pace = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: min((s + 1) / (0.1 * steps), 1 - s / steps))
    model.train()
    order: list[Item] = []
    for _ in range(steps):
        if len(order) < batch:
            order = rng.sample(list(rows), len(rows))
        chosen, order = order[:batch], order[batch:]
        loss = F.cross_entropy(model(chosen, "en"), torch.tensor([row.label for row in chosen]))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        pace.step()
    model.eval()


@torch.inference_mode()
def accuracy(model: nn.Module, rows: Sequence[Item], language: str) -> float:
    """Percent of the rows labelled rightly."""
    rows = sorted(rows, key=lambda row: len(render(row, language)[0]))
    hits = 0
    for start in range(0, len(rows), 250):
        part = rows[start : start + 250]
        hits += (model(part, language).argmax(1) == torch.tensor([row.label for row in part])).sum().item()
    return 100 * hits / len(rows)


def draw(rows: Sequence[Item], per_label: int, seed: int) -> list[Item]:
    """`per_label` random rows of each label."""
    rng = random.Random(seed)
    return [row for label in LABELS for row in rng.sample([r for r in rows if r.label == label], per_label)]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and the half-width of its 95 % interval."""
    half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.mean(values), half


def main(
    model: Annotated[Path, typer.Option(help="folder of the model")] = Path("xlbench/tiny"),
    test: Annotated[int, typer.Option(help="test rows per language")] = 3000,
    few_test: Annotated[int, typer.Option(help="test rows per language in the few-shot part")] = 300,
    full_steps: int = 1500,
    full_rate: float = 5e-4,
    few_steps: int = 150,
    few_rate: float = 5e-4,
    draws: int = 5,
    languages: str = ",".join(LANGUAGES),
    threads: int = 2,
) -> None:
    """Print both tables."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # a fitted model's gradients are tiny; denormal numbers make a CPU crawl
    codes, began = languages.split(","), time.perf_counter()
    train, held_out = items("train"), items("test")
    if draws:
        print("16 shots per class: English, mean of the others, mean of all")
    for name, kind in (("fine-tuning", FineTuning), ("prompt", Prompt)) if draws else ():
        means = []
        for number in range(draws):
            few = kind(model)
            fit(few, draw(train, 16, number), few_steps, 16, few_rate, number)
            rows = random.Random(number).sample(held_out, few_test)
            scores = {code: accuracy(few, rows, code) for code in codes}
            others = [score for code, score in scores.items() if code != "en"] or [math.nan]
            means.append(statistics.mean(scores.values()))
            print(f"  {name:12s} draw {number}  {scores['en']:5.1f}  {statistics.mean(others):5.1f}  {means[-1]:5.1f}")
        if draws > 1:
            print("  {:12s} {:.1f} ± {:.1f}".format(name, *interval(means)), flush=True)
    if full_steps:
        full = FineTuning(model)
        fit(full, train[:2001], full_steps, 32, full_rate, 0)
        rows = random.Random(0).sample(held_out, min(test, len(held_out)))
        scores = {code: accuracy(full, rows, code) for code in codes}
        others = [score for code, score in scores.items() if code != "en"] or [math.nan]
        print("2,000 rows, fine-tuning:", "  ".join(f"{code} {score:.1f}" for code, score in scores.items()))
        print(f"  English {scores['en']:.1f}, mean of the others {statistics.mean(others):.1f}")
        for name in dict.fromkeys(row.phenomenon for row in rows):
            print(f"  {name:14s} en {accuracy(full, [r for r in rows if r.phenomenon == name], 'en'):.1f}")
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    typer.run(main)
