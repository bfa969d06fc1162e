"""xlbench and the scripts of `rivals` with the very same weights, checked to say the same of the test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rivals import B1, B2, HONEST, AtMask, Classifier, Kind, Translated, evaluate, load

import xlbench
from xlbench.engine.predict import predict
from xlbench.engine.prepare import Prepared, prepare
from xlbench.engine.session import Session
from xlbench.method import Method
from xlbench.nli import NLI_LANGUAGES
from xlbench.prompts import Encoded

AGREE = 1e-3  # fp32 log-probabilities of two programs
PRECISION: Any = "bf16" if torch.cuda.is_available() else "fp32"
Scores = dict[str, np.ndarray]


class Ours:
    """A method of xlbench, built as a run builds it, and the rival script's model with the very same weights."""

    def __init__(self, kind: Kind, prepared: Prepared, model: str) -> None:
        torch.manual_seed(0)
        spec, device = prepared.spec, prepared.device
        backbone = prepared.backbone.fresh()
        self.kind, self.device, self.precision = kind, device, spec.precision
        self.tests = prepared.episode.test.rows.by_language
        self.pairs = prepared.resources.get("parallel", {})
        self.method: Method = prepared.method_class(prepared.config, backbone, prepared.task, spec.languages, 128)
        self.method.build(backbone, prepared.task).to(device).eval()
        backbone.to(device)
        self.model = model
        self._twins: dict[bool, torch.nn.Module] = {}
        self.tokenizer = backbone.tokenizer

    def rival(self, everywhere: bool = False) -> torch.nn.Module:
        """The script's model with our weights; made once."""
        if everywhere not in self._twins:
            twin, _ = load(self.kind, self.model, everywhere)
            if isinstance(twin, Translated):
                twin.translators.load_state_dict(self.method.translators.state_dict())  # type: ignore[attr-defined]
            if isinstance(twin, AtMask) and self.kind != "pct":
                twin.prompt.load_state_dict(self.method.prompt_encoder.state_dict())  # type: ignore[attr-defined]
            elif isinstance(twin, Classifier):
                twin.head.load_state_dict(self.method.head.state_dict())  # type: ignore[attr-defined]
            self._twins[everywhere] = twin.eval()
        return self._twins[everywhere]

    def score(self) -> Scores:
        """All test rows, from text to log-probabilities."""
        inputs = [self.method.encode_labelled(rows) for rows in self.tests.values()]
        scores = predict(self.method, Encoded.join(inputs), Session(self.device, self.precision))
        ends = np.cumsum([len(one) for one in inputs])
        return dict(zip(self.tests, np.split(scores, ends[:-1]), strict=True))


def contenders(kind: Kind, model: str, root: Path | None, units: int) -> tuple[Ours, dict[str, Callable[[], Scores]]]:
    """Who scores the test in 15 languages: xlbench, B0, B1 and (prompts) B2, all with the same weights."""
    spec = xlbench.RunSpec(
        task="xnli" if root else "logic", method=kind, shots=4, model=model, test_units=units,
        languages=NLI_LANGUAGES, precision=PRECISION,
    )  # fmt: skip
    ours = Ours(kind, prepare(spec, xlbench.Runtime(data_root=root)), model)
    by: dict[str, Callable[[], Scores]] = {
        "xlbench": ours.score,
        "B0": lambda: evaluate(kind, ours.rival(), ours.tokenizer, ours.tests, HONEST),
        "B1": lambda: evaluate(kind, ours.rival(), ours.tokenizer, ours.tests, B1),
    }
    if kind != "finetune":
        by["B2"] = lambda: evaluate(kind, ours.rival(everywhere=True), ours.tokenizer, ours.tests, B2)
    return ours, by


def check_equal(ours: Ours, scores: dict[str, Scores]) -> None:
    """Ends the benchmark where two of the contenders say other things of the same rows."""
    for name, theirs in scores.items():
        apart = max(float(np.abs(theirs[code] - scores["xlbench"][code]).max()) for code in NLI_LANGUAGES)
        if apart > (AGREE if ours.device.type == "cpu" else 0.2):
            raise SystemExit(
                f"{ours.kind}: {name}'s log-probabilities differ from xlbench's by {apart:.4f}: not comparable"
            )
