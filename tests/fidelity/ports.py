"""The published computations of four methods, written from their descriptions in plain torch and transformers.

Nothing of xlbench's methods, prompts or engine is used here: ids come from the tokenizer, the LSTM, the losses, the
optimiser and its schedule are written out. What is compared stands in docs/fidelity.md.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from transformers import AutoModelForMaskedLM, AutoTokenizer

Row = tuple[str, str, int]  # premise, hypothesis, label
QUESTIONS = {"en": ("question:", "Answer:"), "fr": ("question:", "réponse:"), "sw": ("swali:", "Jibu:")}


@dataclass
class Port:
    """A masked language model with its pretrained weights and those of a method, by name."""

    folder: Path
    words: tuple[str, str, str]
    fresh: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        self.model = AutoModelForMaskedLM.from_pretrained(self.folder, dtype=torch.float32).eval()
        self.fresh = {name: value.detach().clone().requires_grad_() for name, value in self.fresh.items()}
        (self.label_ids,) = [[self._ids(word)[0] for word in self.words]]
        self.mask = self.tokenizer.mask_token_id
        self.begin, self.end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    # Inputs

    def pair(self, row: Row) -> list[int]:
        """<s> p </s></s> h </s>"""
        return [self.begin, *self._ids(row[0]), self.end, self.end, *self._ids(row[1]), self.end]

    def soft(self, row: Row, vectors: int) -> list[int]:
        """<s> p . h ? [v1]…[vL] <mask> . </s>, closing full stops stripped; -1, -2, … for the vectors"""
        head = self._ids(f"{row[0].rstrip('.')} . {row[1].rstrip('.')} ?")
        slots = [-1 - number for number in range(vectors)]
        return [self.begin, *head, *slots, self.mask, *self._ids("."), self.end]

    def question(self, row: Row, language: str) -> list[int]:
        """<s> p </s></s> question: h? Answer: <mask> </s>"""
        question, answer = QUESTIONS[language]
        asked = self._ids(f"{question} {row[1]}? {answer}")
        return [self.begin, *self._ids(row[0]), self.end, self.end, *asked, self.mask, self.end]

    # Forward

    def states(self, ids: Sequence[int], vectors: Tensor | None = None) -> Tensor:
        """Last hidden states of one row, (t, d)."""
        table = self.model.get_input_embeddings().weight
        rows = [table[token] if token >= 0 else vectors[-1 - token] for token in ids]
        return self.model.roberta(inputs_embeds=torch.stack(rows)[None]).last_hidden_state[0]

    def at_mask(self, ids: Sequence[int], vectors: Tensor | None = None) -> Tensor:
        """Logits of the whole vocabulary at <mask>, (v,)."""
        return self.model.lm_head(self.states(ids, vectors)[list(ids).index(self.mask)])

    def head(self, ids: Sequence[int]) -> Tensor:
        """XLM-R's classification head at <s>, without dropout, (labels,)."""
        w = self.fresh
        inner = torch.tanh(self.states(ids)[0] @ w["head.1.weight"].T + w["head.1.bias"])
        return inner @ w["head.4.weight"].T + w["head.4.bias"]

    def prompt(self) -> Tensor:
        """Embeddings → bidirectional LSTM → Linear, ReLU, Linear: (L, d)."""
        w = self.fresh
        states = torch.cat([self._lstm("", False), self._lstm("_reverse", True)], dim=1)
        inner = torch.relu(states @ w["prompt.mlp.0.weight"].T + w["prompt.mlp.0.bias"])
        return inner @ w["prompt.mlp.2.weight"].T + w["prompt.mlp.2.bias"]

    def _lstm(self, side: str, backwards: bool) -> Tensor:
        w = {name: self.fresh[f"prompt.lstm.{name}_l0{side}"] for name in
             ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}  # fmt: skip
        inputs = self.fresh["prompt.embeddings"]
        hidden = cell = torch.zeros(inputs.shape[1])
        outputs: list[Tensor] = []
        for row in reversed(range(len(inputs))) if backwards else range(len(inputs)):
            gates = w["weight_ih"] @ inputs[row] + w["bias_ih"] + w["weight_hh"] @ hidden + w["bias_hh"]
            come, forget, new, out = gates.chunk(4)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(come) * torch.tanh(new)
            hidden = torch.sigmoid(out) * torch.tanh(cell)
            outputs.append(hidden)
        return torch.stack(outputs[::-1] if backwards else outputs)

    def translated(self, language: str) -> Tensor:
        """p_T = Linear(ReLU(Linear(p_S)))."""
        w = {name.removeprefix(f"translators.{language}."): value for name, value in self.fresh.items()}
        inner = torch.relu(self.prompt() @ w["0.weight"].T + w["0.bias"])
        return inner @ w["2.weight"].T + w["2.bias"]

    # Losses: means over rows

    def finetune(self, rows: Sequence[Row]) -> Tensor:
        return torch.stack([cross_entropy(self.head(self.pair(row)), torch.tensor(row[2])) for row in rows]).mean()

    def soft_prompt(self, rows: Sequence[Row]) -> Tensor:
        vectors = self.prompt()
        logits = torch.stack([self.at_mask(self.soft(row, len(vectors)), vectors)[self.label_ids] for row in rows])
        return cross_entropy(logits, torch.tensor([row[2] for row in rows]))

    def pct(self, rows: Sequence[Row], others: Sequence[str]) -> Tensor:
        """CE + CE + KL + KL, all over the vocabulary."""
        total = torch.zeros(())
        for row, language in zip(rows, others, strict=True):
            gold = torch.tensor(self.label_ids[row[2]])
            ours, theirs = (self.at_mask(self.question(row, name)) for name in ("en", language))
            p, q = log_softmax(ours, 0), log_softmax(theirs, 0)
            total = total + cross_entropy(ours, gold) + cross_entropy(theirs, gold)
            total = (
                total + kl_div(q, p, log_target=True, reduction="sum") + kl_div(p, q, log_target=True, reduction="sum")
            )
        return total / len(rows)

    def mpt(self, rows: Sequence[Row], pairs: Sequence[tuple[str, Row, Row]], alpha: float) -> Tensor:
        """Soft prompting's loss + α · KL(stopped source ‖ target) over the label words."""
        total, vectors = torch.zeros(()), self.prompt()
        for language, source, target in pairs:
            ours = self.at_mask(self.soft(source, len(vectors)), vectors)[self.label_ids]
            theirs = self.at_mask(self.soft(target, len(vectors)), self.translated(language))[self.label_ids]
            p, q = log_softmax(ours, 0).detach(), log_softmax(theirs, 0)
            total = total + (p.exp() * (p - q)).sum()
        return self.soft_prompt(rows) + alpha * total / len(pairs)

    # Training

    def parameters(self) -> dict[str, Tensor]:
        """Every weight that trains, once."""
        return {**dict(self.model.named_parameters()), **self.fresh}

    def train(self, loss: Callable[[], Tensor], steps: int, asked: Mapping[str, object]) -> None:
        """Adam or AdamW by hand: betas 0.9 and 0.999, ε 1e-8; clipping by the norm of all gradients; the schedule."""
        moments = {
            name: (torch.zeros_like(value), torch.zeros_like(value), [0]) for name, value in self._named().items()
        }
        warmup = max(1, round(asked["warmup"] * steps))
        for step in range(1, steps + 1):
            for value in self.parameters().values():
                value.grad = None
            loss().backward()
            named = {name: value for name, value in self._named().items() if value.grad is not None}
            if asked["clip"]:
                norm = math.sqrt(sum(float(value.grad.square().sum()) for value in named.values()))
                for value in named.values():
                    value.grad *= min(1.0, asked["clip"] / (norm + 1e-6))
            factor = min(1.0, step / warmup)
            if asked["schedule"] == "linear" and step > warmup:
                factor = 1 - (1 - asked["final_rate"]) * (step - warmup) / (steps - warmup)
            with torch.no_grad():
                for name, value in named.items():
                    rate = factor * asked["fresh_learning_rate" if name in self.fresh else "learning_rate"]
                    bare = "bias" in name or "LayerNorm" in name or "layer_norm" in name
                    decay = 0.0 if bare and not asked["decay_biases"] else asked["weight_decay"]
                    gradient = value.grad
                    if asked["optimiser"] == "adamw":
                        value *= 1 - rate * decay
                    else:
                        gradient = gradient + decay * value
                    first, second, count = moments[name]
                    count[0] += 1
                    first.mul_(0.9).add_(gradient, alpha=0.1)
                    second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
                    mean, spread = first / (1 - 0.9 ** count[0]), second / (1 - 0.999 ** count[0])
                    value -= rate * mean / (spread.sqrt() + 1e-8)

    def _named(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.parameters().items() if value.requires_grad}
