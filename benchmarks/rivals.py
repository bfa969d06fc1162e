"""What a user would write instead of xlbench: Trainer scripts for fine-tuning and soft prompting.

B0, the honest rival, as an expert writes it today: sdpa, bf16 on a GPU, dynamic padding, length grouping, large
evaluation batches, all languages in one process, the head at `<mask>` only, the best checkpoint kept in memory.
B1, stock defaults: padded to 128, fp32, batches of eight. B2, as the prompt libraries compute them: B1 with the
logits of the whole vocabulary at every position.
"""

import copy
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from xlbench.prompts import PromptEncoder, without_closing_punctuation
from xlbench.task import Row

Kind = Literal["finetune", "soft-prompt"]
WORDS = ("yes", "maybe", "no")
VECTORS, LONGEST = 4, 128


@dataclass(frozen=True)
class Style:
    """How a script evaluates: rows a batch, padded to 128 or to the longest, and where the vocabulary is scored."""

    batch: int
    padded: bool = False
    everywhere: bool = False
    sorted: bool = True


B0 = Style(64)
B0_CPU = Style(16)  # on two cores smaller batches are faster: they stay in the cache
B1 = Style(8, padded=True, sorted=False)
B2 = Style(8, padded=True, everywhere=True, sorted=False)


class Classifier(nn.Module):
    """Fine-tuning: XLM-R's classification head on the first token."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.encoder, width = whole.base_model, whole.config.hidden_size
        self.head = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(width, width), nn.Tanh(), nn.Dropout(0.1), nn.Linear(width, len(WORDS))
        )
        for layer in self.head:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.head(self.encoder(input_ids, attention_mask=attention_mask).last_hidden_state[:, 0])
        return _with_loss(logits, labels)


class Prompted(nn.Module):
    """Soft prompting: trained vectors before `<mask>`, label words there; `everywhere` scores every position."""

    def __init__(self, whole: Any, tokenizer: Any, everywhere: bool = False) -> None:
        super().__init__()
        self.whole, self.everywhere, self.mask = whole, everywhere, tokenizer.mask_token_id
        self.prompt = PromptEncoder(VECTORS, whole.config.hidden_size)
        self.words = [tokenizer(word, add_special_tokens=False)["input_ids"][-1] for word in WORDS]

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        at = (input_ids == self.mask).int().argmax(1)
        every = torch.arange(len(input_ids), device=input_ids.device)
        vectors = self.whole.get_input_embeddings()(input_ids)
        places = at[:, None] - VECTORS + torch.arange(VECTORS, device=input_ids.device)
        prompt = self.prompt().to(vectors.dtype).expand(len(input_ids), -1, -1)
        vectors = vectors.scatter(1, places[..., None].expand_as(prompt), prompt)
        if self.everywhere:
            logits = self.whole(inputs_embeds=vectors, attention_mask=attention_mask).logits[every, at]
        else:
            hidden = self.whole.base_model(inputs_embeds=vectors, attention_mask=attention_mask).last_hidden_state
            logits = self.whole.lm_head(hidden[every, at])
        return _with_loss(logits[:, self.words], labels)


def _with_loss(logits: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
    if labels is None:
        return {"logits": logits}
    return {"loss": nn.functional.cross_entropy(logits.float(), labels), "logits": logits}


def load(kind: Kind, model: str, everywhere: bool = False) -> tuple[nn.Module, Any]:
    """A model and its tokenizer, from disk as every script does."""
    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    whole = AutoModelForMaskedLM.from_pretrained(
        model, attn_implementation="sdpa", dtype=torch.float32, local_files_only=True
    )
    return (Classifier(whole) if kind == "finetune" else Prompted(whole, tokenizer, everywhere)), tokenizer


def encoded(kind: Kind, rows: Sequence[Row], tokenizer: Any) -> list[dict[str, Any]]:
    """Rows as the Trainer takes them."""
    labels = [row.label for row in rows]
    if kind == "finetune":
        pairs = [row.texts for row in rows]
        ids = tokenizer([one for one, _ in pairs], [other for _, other in pairs], truncation=True, max_length=LONGEST)
        return [{"input_ids": one, "labels": label} for one, label in zip(ids["input_ids"], labels, strict=True)]
    stripped = [tuple(without_closing_punctuation(text) for text in row.texts) for row in rows]
    asked = tokenizer([f"{one} . {other} ? " for one, other in stripped], add_special_tokens=False)["input_ids"]
    answer = tokenizer(f"{tokenizer.mask_token} .", add_special_tokens=False)["input_ids"]
    place = [tokenizer.pad_token_id] * VECTORS
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    longest = LONGEST - len(answer) - VECTORS - 2
    return [
        {"input_ids": [begin, *one[:longest], *place, *answer, end], "labels": label,
         "attention_mask": [1] * (min(len(one), longest) + len(answer) + VECTORS + 2)}
        for one, label in zip(asked, labels, strict=True)
    ]  # fmt: skip


def trainer(
    model: nn.Module, tokenizer: Any, style: Style, folder: str, eval_dataset: Any = None, **settings: Any
) -> Trainer:
    """A Trainer that writes nothing and says nothing."""
    cuda = torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=folder, per_device_eval_batch_size=style.batch, report_to="none", disable_tqdm=True,
        save_strategy="no", bf16=cuda and not style.padded, use_cpu=not cuda, dataloader_pin_memory=cuda,
        logging_strategy="no", **settings,
    )  # fmt: skip
    padding = {"padding": "max_length", "max_length": LONGEST} if style.padded else {"padding": True}
    collator = DataCollatorWithPadding(tokenizer, **padding)
    return Trainer(model, arguments, data_collator=collator, eval_dataset=eval_dataset)


def evaluate(
    kind: Kind, model: nn.Module, tokenizer: Any, tests: Mapping[str, Sequence[Row]], style: Style
) -> dict[str, np.ndarray]:
    """Log-probabilities of the labels by language, (n, 3); tokenised, batched and scored as the style says."""
    with tempfile.TemporaryDirectory() as folder:
        predictor = trainer(model, tokenizer, style, folder)
        if not style.sorted:  # one language after the other, in file order
            return {
                language: _log_softmax(predictor.predict(encoded(kind, rows, tokenizer)).predictions)
                for language, rows in tests.items()
            }
        rows = [row for side in tests.values() for row in side]
        inputs = encoded(kind, rows, tokenizer)
        order = sorted(range(len(rows)), key=lambda at: -len(inputs[at]["input_ids"]))
        scores = np.empty((len(rows), len(WORDS)), dtype=np.float32)
        scores[order] = _log_softmax(predictor.predict([inputs[at] for at in order]).predictions)
        ends = np.cumsum([len(side) for side in tests.values()])
        return dict(zip(tests, np.split(scores, ends[:-1]), strict=True))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(np.asarray(logits)).float().log_softmax(-1).numpy()


class _KeepBest(TrainerCallback):
    """The state with the best dev accuracy, in memory, as who knows the disk is slow does it."""

    def __init__(self) -> None:
        self.best = -math.inf
        self.state: dict[str, Tensor] = {}

    def on_evaluate(
        self, args: Any, state: Any, control: Any, model: Any = None, metrics: Any = None, **_: Any
    ) -> None:
        if metrics["eval_accuracy"] > self.best:
            self.best, self.state = metrics["eval_accuracy"], copy.deepcopy(model.state_dict())


@dataclass(frozen=True)
class Fit:
    """What training leaves beside the weights: its seconds, and the best state where a dev set chose one."""

    seconds: float
    best: dict[str, Tensor]


def train(
    kind: Kind, model: nn.Module, tokenizer: Any, shots: Sequence[Row], dev: Sequence[Row] | None,
    steps: int, batch: int, rate: float, checkpoints: int, style: Style, seed: int,
) -> Fit:  # fmt: skip
    """Train in place, with evaluation at checkpoints where there is a dev set."""
    keeper = _KeepBest()
    when: dict[str, Any] = {}
    if dev:
        when = {"eval_strategy": "steps", "eval_steps": max(1, steps // checkpoints)}
        when["eval_dataset"] = encoded(kind, dev, tokenizer)
    grouped = {} if style.padded else {"train_sampling_strategy": "group_by_length", "optim": "adamw_torch_fused"}
    with tempfile.TemporaryDirectory() as folder:
        fitting = trainer(
            model, tokenizer, style, folder, max_steps=steps, per_device_train_batch_size=batch, learning_rate=rate,
            lr_scheduler_type="constant", weight_decay=0.01, max_grad_norm=1.0, seed=seed, **when, **grouped,
        )  # fmt: skip
        fitting.train_dataset = encoded(kind, shots, tokenizer)
        fitting.compute_metrics = lambda found: {"accuracy": float((found[0].argmax(-1) == found[1]).mean())}
        fitting.add_callback(keeper)
        start = time.perf_counter()
        fitting.train()
        return Fit(time.perf_counter() - start, keeper.state)


def run(
    kind: Kind, model_name: str, shots: Sequence[Row], dev: Sequence[Row], tests: Mapping[str, Sequence[Row]],
    steps: int, batch: int, rate: float, checkpoints: int, style: Style, seed: int,
) -> dict[str, np.ndarray]:  # fmt: skip
    """One run of the script: load, train with evaluation at checkpoints, score the best state's test."""
    torch.manual_seed(seed)
    model, tokenizer = load(kind, model_name)
    fitted = train(kind, model, tokenizer, shots, dev, steps, batch, rate, checkpoints, style, seed)
    model.load_state_dict(fitted.best)
    return evaluate(kind, model, tokenizer, tests, style)
