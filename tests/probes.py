"""A task of each kind, a method without gradients and one with a resource of its own: small, and real enough to learn.

A plug-in file: `--plugin tests/probes.py`. Words are invented, so that a test sentence is in no other split.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from xlbench import register_method, register_resource, register_task
from xlbench.method import Method, MethodConfig, Resources, Stream
from xlbench.problem import Classification, MultipleChoice, TokenLabelling
from xlbench.resources import Resource, Surroundings
from xlbench.sources import DataSource
from xlbench.spec import Frozen
from xlbench.task import Row, SplitName, Task

LANGUAGES = ("en", "fr", "sw")
GREETING = {"en": "hello", "fr": "bonjour", "sw": "jambo"}
SIZES = {"train": 24, "validation": 12, "test": 10}
SYLLABLES = [
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "ha",
    "je",
    "ki",
    "lo",
    "mu",
    "na",
    "pe",
    "ri",
    "so",
    "tu",
    "va",
    "we",
    "xi",
    "yo",
    "zu",
]


def word(split: str, number: int) -> str:
    """An invented word that no other split has."""
    at = {"train": 0, "validation": 1, "test": 2}[split] + 3 * number
    return SYLLABLES[at % 20] + SYLLABLES[at // 20 % 20] + SYLLABLES[(at * 7 + at // 20) % 20]


class Probe(Task):
    """What the probes share."""

    languages = LANGUAGES
    license = citation = "the tests of xlbench"
    fields = ("text",)
    unit = "sentence"
    units = SIZES["test"]


@register_task("probe-tone")
class Tone(Probe):
    """Single texts of three uneven classes, by macro-F1: a word tells the tone."""

    problem = Classification(("bad", "plain", "good"), metrics=("macro-F1", "accuracy", "MCC"))
    templates: ClassVar = {"soft": dict.fromkeys(LANGUAGES, "{text.} . <prompt> <mask> .")}
    label_words: ClassVar = {"en": ("no", "maybe", "yes")}

    def rows(self, split: SplitName, language: str, source: DataSource) -> Sequence[Row]:
        rows = []
        for number in range(SIZES[split]):
            for gold, (tone, often) in enumerate((("no", 1), ("maybe", 1), ("yes", 2))):
                for again in range(often):
                    text = f"{GREETING[language]} {word(split, 4 * number + gold + again)} {tone}"
                    rows.append(Row(f"{split}-{number}-{gold}-{again}", (text,), gold, language, f"{split}-{number}"))
        return rows


@register_task("probe-choice")
class Choice(Probe):
    """Which of two or three words is said in the text."""

    problem = MultipleChoice(most=2)

    def rows(self, split: SplitName, language: str, source: DataSource) -> Sequence[Row]:
        rows = []
        for number in range(SIZES[split]):
            for gold in (0, 1):
                said, other, third = (word(split, 6 * number + 3 * gold + place) for place in range(3))
                choices = (said, other) if gold == 0 else (other, said, third)
                text = f"{GREETING[language]} {said} !"
                rows.append(Row(f"{split}-{number}-{gold}", (text,), gold, language, f"{split}-{number}", "", choices))
        return rows


@register_task("probe-names")
class Names(Probe):
    """Which words are names: a person's stands first, a place's after a preposition."""

    problem = TokenLabelling(("O", "B-PER", "I-PER", "B-LOC"))
    fields = ("words",)

    def rows(self, split: SplitName, language: str, source: DataSource) -> Sequence[Row]:
        at = {"en": "in", "fr": "à", "sw": "katika"}[language]
        rows = []
        for number in range(2 * SIZES[split]):
            first, last, place = (word(split, 3 * number + part).capitalize() for part in range(3))
            words, tags = ([first, last], [1, 2]) if number % 2 else ([first], [1])
            words += [GREETING[language], at, place]
            rows.append(Row(f"{split}-{number}", tuple(words), (*tags, 0, 0, 3), language, f"{split}-{number}"))
        return rows


@register_task("probe-apart")
class Apart(Probe):
    """Languages with test rows of their own: as many as there happen to be, with ids by position."""

    labels = ("bad", "good")

    def rows(self, split: SplitName, language: str, source: DataSource) -> Sequence[Row]:
        number = SIZES[split] - (2 * LANGUAGES.index(language) if split == "test" else 0)
        kinds = ("no", "yes") if language != "fr" else ("yes", "no")
        return [
            Row(
                f"{split}-{2 * at + place}",
                (f"{word(split, 2 * at + place)} {GREETING[language]} {kind}",),
                ("no", "yes").index(kind),
                language,
                f"{split}-{2 * at + place}",
            )
            for at in range(number)
            for place, kind in enumerate(kinds)
        ]


@register_method("probe-centroids")
class Centroids(Method):
    """The nearest mean of the shots' states, without a gradient: prototypes of each label (Snell et al. 2017)."""

    class Config(MethodConfig):
        scale: float = Field(1.0, gt=0, description="how much a distance weighs")

    def build(self, backbone: object, task: Task) -> nn.Module:
        self.centres = nn.Parameter(torch.zeros(len(task.labels), self.backbone.dimension), requires_grad=False)
        return nn.ParameterDict({"centres": self.centres})

    def fit(self, resources: Resources) -> None:
        from xlbench.batching import collate

        encoded = self.encode_labelled(resources.shots)
        pad, device = self.backbone.tokenizer.pad_token_id, self.centres.device
        with torch.no_grad():
            batch = collate(encoded, range(len(encoded)), pad, device)
            states = self.backbone.answer_states(batch)
            for label in range(len(self.centres)):
                self.centres[label] = states[batch.labels == label].mean(dim=0)

    def logits(self, batch: object) -> Tensor:
        states = self.backbone.answer_states(batch)  # type: ignore[arg-type]
        return -self.config.scale * torch.cdist(states, self.centres)  # type: ignore[attr-defined]


class GlossarySettings(Frozen):
    """How many words."""

    size: int = Field(3, ge=1, description="words a language")


@register_resource("probe-glossary")
class Glossary(Resource[Mapping[str, Sequence[tuple[str, str]]]]):
    """Pairs of words by target language, of a plug-in's own."""

    Settings = GlossarySettings

    def load(self, around: Surroundings) -> Mapping[str, Sequence[tuple[str, str]]]:
        words = [(GREETING[around.task.source], "maybe"), ("yes", "good"), ("no", "bad")][: self.settings.size]
        return {language: [(ours, GREETING[language]) for ours, _ in words] for language in around.targets}

    def texts(self, loaded: Mapping[str, Sequence[tuple[str, str]]]) -> Iterable[tuple[str, str]]:
        for language, pairs in loaded.items():
            yield from ((f"glossary-{language}-{at}", text) for at, pair in enumerate(pairs) for text in pair)


@register_method("probe-switching")
class Switching(Method):
    """Fine-tuning on the shots and on a copy of them in which the glossary's words are switched."""

    needs = frozenset({"probe-glossary"})

    def build(self, backbone: object, task: Task) -> nn.Module:
        self.head = nn.Linear(self.backbone.dimension, len(task.labels))
        return nn.ModuleDict({"encoder": self.backbone.encoder, "head": self.head})

    def streams(self, resources: Resources) -> dict[str, Stream]:
        glossary = dict(next(iter(resources["probe-glossary"].values())))
        switched = []
        for row in resources.shots:
            text = " ".join(glossary.get(said, said) for said in row.texts[0].split())
            switched.append(Row(row.id, (text,), row.gold, row.language, row.unit))
        return {"switched": Stream(self.encode_labelled(switched), aligned=True)}

    def logits(self, batch: object) -> Tensor:
        logits: Tensor = self.head(self.backbone.answer_states(batch))  # type: ignore[arg-type]
        return logits

    def loss(self, batch: object) -> Tensor:
        return super().loss(batch) + super().loss(batch.streams["switched"])  # type: ignore[arg-type, attr-defined]
