"""What a user would write instead of xlbench: Trainer scripts for fine-tuning, soft prompting, PCT and MPT.

B0, the honest rival, as an expert writes it today: sdpa, bf16 on a GPU, dynamic padding, length grouping, large
evaluation batches, all languages in one process, the head at `<mask>` only, the best checkpoint kept in memory.
B1, stock defaults: padded to 128, fp32, batches of eight. B2, as the prompt libraries compute them: B1 with the
logits of the whole vocabulary at every position.
"""

import copy
import math
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from xlbench.corpora import Pair
from xlbench.methods.mpt import translator
from xlbench.nli import NLI_LANGUAGES, QUESTION_WORDS
from xlbench.prompts import PromptEncoder, without_closing_punctuation
from xlbench.task import Row

Kind = Literal["finetune", "soft-prompt", "pct", "mpt"]
Pairs = Mapping[str, Sequence[Pair]]  # translated sentences by target language
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
HONEST = B0 if torch.cuda.is_available() else B0_CPU
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


class AtMask(nn.Module):
    """Label words scored at `<mask>`, where prompt vectors may stand before it; `everywhere` scores every position."""

    def __init__(self, whole: Any, tokenizer: Any, everywhere: bool = False) -> None:
        super().__init__()
        self.whole, self.everywhere, self.mask = whole, everywhere, tokenizer.mask_token_id
        self.prompt = PromptEncoder(VECTORS, whole.config.hidden_size)
        self.words = [tokenizer(word, add_special_tokens=False)["input_ids"][-1] for word in WORDS]

    def at_mask(self, ids: Tensor, attention: Tensor, prompt: Tensor | None = None) -> Tensor:
        """Logits of the vocabulary at `<mask>`, (n, vocabulary); `prompt`: (n, vectors, d), before it."""
        at, every = (ids == self.mask).int().argmax(1), torch.arange(len(ids), device=ids.device)
        vectors = self.whole.get_input_embeddings()(ids)
        if prompt is not None:
            places = at[:, None] - VECTORS + torch.arange(VECTORS, device=ids.device)
            vectors = vectors.scatter(1, places[..., None].expand_as(prompt), prompt.to(vectors.dtype))
        if self.everywhere:
            logits: Tensor = self.whole(inputs_embeds=vectors, attention_mask=attention).logits[every, at]
            return logits
        hidden = self.whole.base_model(inputs_embeds=vectors, attention_mask=attention).last_hidden_state
        found: Tensor = self.whole.lm_head(hidden[every, at])
        return found


class Prompted(AtMask):
    """Soft prompting: trained vectors before `<mask>`."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        prompt = self.prompt().expand(len(input_ids), -1, -1)
        return _with_loss(self.at_mask(input_ids, attention_mask, prompt)[:, self.words], labels)


class Crossed(AtMask):
    """PCT: a shot and the same in another language's template agree over the vocabulary."""

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None,
        other_ids: Tensor | None = None, other_mask: Tensor | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        logits = self.at_mask(input_ids, attention_mask)
        if other_ids is None or other_mask is None:
            return _with_loss(logits[:, self.words], labels)
        other = self.at_mask(other_ids, other_mask)
        found, crossed = (_with_loss(one[:, self.words], labels) for one in (logits, other))
        return found | {"loss": found["loss"] + crossed["loss"] + _kl(logits, other) + _kl(other, logits)}


class Translated(AtMask):
    """MPT: a prompt, and a translator of it for each language, trained on what both say of translated sentences."""

    def __init__(self, whole: Any, tokenizer: Any, everywhere: bool = False) -> None:
        super().__init__(whole, tokenizer, everywhere)
        targets = [language for language in NLI_LANGUAGES if language != "en"]
        self.translators = nn.ModuleDict(
            {language: translator("linear-2", whole.config.hidden_size) for language in targets}
        )

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, language: Tensor, labels: Tensor | None = None,
        source_ids: Tensor | None = None, source_mask: Tensor | None = None,
        target_ids: Tensor | None = None, target_mask: Tensor | None = None, target_language: Tensor | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        found = _with_loss(self.at_mask(input_ids, attention_mask, self._prompts(language))[:, self.words], labels)
        if source_ids is None or target_ids is None or target_language is None:
            return found
        assert source_mask is not None
        assert target_mask is not None
        source = self.at_mask(source_ids, source_mask, self.prompt().expand(len(source_ids), -1, -1))
        target = self.at_mask(target_ids, target_mask, self._prompts(target_language))
        apart = _kl(source[:, self.words].detach(), target[:, self.words])
        return found | {"loss": found["loss"] + 0.5 * apart}

    def _prompts(self, language: Tensor) -> Tensor:
        """The prompt of each row's language, (n, vectors, d)."""
        source = self.prompt()
        spoken = {
            index: self.translators[NLI_LANGUAGES[index]](source[None])[0] if NLI_LANGUAGES[index] != "en" else source
            for index in set(language.tolist())
        }
        return torch.stack([spoken[index] for index in language.tolist()])


MODULES: dict[Kind, type[AtMask]] = {"soft-prompt": Prompted, "pct": Crossed, "mpt": Translated}


def _kl(logits: Tensor, other: Tensor) -> Tensor:
    """KL(P‖Q), the mean over rows, from logits (n, k) of P and Q."""
    ours, theirs = logits.float().log_softmax(-1), other.float().log_softmax(-1)
    return nn.functional.kl_div(theirs, ours, reduction="batchmean", log_target=True)


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
    return (Classifier(whole) if kind == "finetune" else MODULES[kind](whole, tokenizer, everywhere)), tokenizer


def encoded(kind: Kind, rows: Sequence[Row], tokenizer: Any) -> list[dict[str, Any]]:
    """Rows as the Trainer takes them."""
    if kind in ("finetune", "pct"):
        texts = [row.texts if kind == "finetune" else asking(row, row.language, tokenizer) for row in rows]
        cut = True if kind == "finetune" else "only_first"
        ids = tokenizer([one for one, _ in texts], [other for _, other in texts], truncation=cut, max_length=LONGEST)
        return [
            {"input_ids": one, "attention_mask": [1] * len(one), "labels": row.gold}
            for one, row in zip(ids["input_ids"], rows, strict=True)
        ]
    found = prompted([row.texts for row in rows], tokenizer)
    for item, row in zip(found, rows, strict=True):
        item["labels"] = row.gold
        if kind == "mpt":
            item["language"] = NLI_LANGUAGES.index(row.language)
    return found


def asking(row: Row, language: str, tokenizer: Any) -> tuple[str, str]:
    """A row in PCT's template of a language: two texts, the second with `<mask>`."""
    question, answer, mark = QUESTION_WORDS[language]
    return row.texts[0], f"{question} {row.texts[1]}{mark} {answer} {tokenizer.mask_token}"


def prompted(texts: Sequence[Sequence[str]], tokenizer: Any) -> list[dict[str, Any]]:
    """Pairs of texts in the template of soft prompts, with room for the vectors before `<mask>`."""
    plain = [tuple(without_closing_punctuation(text) for text in both) for both in texts]
    asked = tokenizer([f"{one} . {other} ? " for one, other in plain], add_special_tokens=False)["input_ids"]
    answer = tokenizer(f"{tokenizer.mask_token} .", add_special_tokens=False)["input_ids"]
    place = [tokenizer.pad_token_id] * VECTORS
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    longest = LONGEST - len(answer) - VECTORS - 2
    return [
        {"input_ids": [begin, *one[:longest], *place, *answer, end],
         "attention_mask": [1] * (min(len(one), longest) + len(answer) + VECTORS + 2)}
        for one in asked
    ]  # fmt: skip


class Training(Dataset[dict[str, Any]]):
    """The shots, each with what its method reads beside it: its double in another template, or a translated pair."""

    def __init__(self, kind: Kind, shots: Sequence[Row], pairs: Pairs, tokenizer: Any, seed: int) -> None:
        self.shots, self.tokenizer, self.random = encoded(kind, shots, tokenizer), tokenizer, random.Random(seed)
        self.pairs: list[tuple[str, Pair]] = []
        if kind == "pct":
            others = [language for language in NLI_LANGUAGES if language != "en"]
            texts = [asking(row, self.random.choice(others), tokenizer) for row in shots]
            doubles = tokenizer(
                [one for one, _ in texts], [other for _, other in texts], truncation="only_first", max_length=LONGEST
            )["input_ids"]
            for shot, double in zip(self.shots, doubles, strict=True):
                shot |= {"other_ids": double, "other_mask": [1] * len(double)}
        elif kind == "mpt":
            self.pairs = [(language, pair) for language, of in pairs.items() for pair in of]

    def __len__(self) -> int:
        return len(self.shots)

    def __getitem__(self, at: int) -> dict[str, Any]:
        if not self.pairs:
            return self.shots[at]
        language, pair = self.random.choice(self.pairs)
        source, target = prompted([pair.source, pair.target], self.tokenizer)
        return self.shots[at] | {
            "source_ids": source["input_ids"], "source_mask": source["attention_mask"],
            "target_ids": target["input_ids"], "target_mask": target["attention_mask"],
            "target_language": NLI_LANGUAGES.index(language),
        }  # fmt: skip


class Collator(DataCollatorWithPadding):
    """Pads the ids of a row, and those that stand beside it, each to their own longest."""

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super().__call__(
            [{k: v for k, v in one.items() if k not in _BESIDE} for one in features]  # what the tokenizer can pad
        )
        for name in _BESIDE & set(features[0]):
            rows = [torch.tensor(one[name]) for one in features]
            fill = self.tokenizer.pad_token_id if name.endswith("ids") else 0
            batch[name] = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill)
        return batch


_BESIDE = {"other_ids", "other_mask", "source_ids", "source_mask", "target_ids", "target_mask"}


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
    collator = Collator(tokenizer, **padding)
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
    kind: Kind, model: nn.Module, tokenizer: Any, shots: Sequence[Row], dev: Sequence[Row] | None, pairs: Pairs,
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
        fitting.train_dataset = Training(kind, shots, pairs, tokenizer, seed)
        fitting.compute_metrics = lambda found: {"accuracy": float((found[0].argmax(-1) == found[1]).mean())}
        fitting.add_callback(keeper)
        start = time.perf_counter()
        fitting.train()
        return Fit(time.perf_counter() - start, keeper.state)


def run(
    kind: Kind, model_name: str, shots: Sequence[Row], dev: Sequence[Row], tests: Mapping[str, Sequence[Row]],
    pairs: Pairs, steps: int, batch: int, rate: float, checkpoints: int, style: Style, seed: int,
) -> dict[str, np.ndarray]:  # fmt: skip
    """One run of the script: load, train with evaluation at checkpoints, score the best state's test."""
    torch.manual_seed(seed)
    model, tokenizer = load(kind, model_name)
    fitted = train(kind, model, tokenizer, shots, dev, pairs, steps, batch, rate, checkpoints, style, seed)
    model.load_state_dict(fitted.best)
    return evaluate(kind, model, tokenizer, tests, style)
