"""Small rows in the layout of the dataset hub, written by hand for the tests, and plug-ins to load beside them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from xlbench import registry
from xlbench.resources import Surroundings
from xlbench.sources import DataSource

ANIMALS = {
    "en": ["fox", "owl", "bear", "goat", "duck", "hare", "wolf", "crab", "deer", "frog", "swan", "mole",
           "seal", "toad", "hawk", "lynx", "boar", "newt", "colt"],
    "fr": ["renard", "hibou", "ours", "bouc", "canard", "lièvre", "loup", "crabe", "cerf", "crapaud vert", "cygne",
           "castor", "phoque", "crapaud", "faucon", "lynx", "sanglier", "triton", "poulain"],
    "sw": ["mbweha", "bundi", "dubu", "mbuzi", "bata", "sungura", "mbwa mwitu", "kaa", "paa", "chura", "bata maji",
           "fuko", "sili", "chura mkubwa", "mwewe", "simba mangu", "nguruwe", "mjusi", "mwanafarasi"],
}  # fmt: skip
SENTENCES = {  # the premise, then a hypothesis for each label
    "en": ("The {} sleeps near the river.", "The {} is asleep.", "The {} dreams of fish.", "The {} runs all day."),
    "fr": ("Le {} dort près du fleuve.", "Le {} est endormi.", "Le {} rêve de poisson.", "Le {} court sans cesse."),
    "sw": ("{} analala karibu na mto.", "{} amelala.", "{} anaota samaki.", "{} anakimbia siku nzima."),
}
PREMISES = {"test": range(4), "validation": range(4, 8), "train": range(8, 16)}

# Settings without which a method does not run on the embedded model: it does not say how it makes sentence vectors.
ON_TINY: dict[str, dict] = {"sentence-encoder": {"pooling": "mean", "prefix": ""}}

# Fields of a run that a method asks for.
ASKS: dict[str, dict] = {"filter": {"read": "both"}, "flare": {"read": "both"}}


def resources_of(method, task, languages, shots=(), size: int = 8, source=None) -> dict:
    """What a method needs beside the shots, a little of each, as the harness loads it."""
    around = Surroundings(task, tuple(languages), shots, source or DataSource(None))
    loaded = {}
    for name in method.needs:
        resource = registry.get("resource", name)
        sized = {"size": size} if "size" in resource.Settings.model_fields else {}
        loaded[name] = resource(resource.Settings(**sized)).load(around)
    return loaded


LINE = (
    "compare", "--task", "logic", "--model", "tiny", "--languages", "en,fr", "--test-units", "4", "--shots", "1",
    "--draws", "1", "--seeds", "1", "--steps", "1", "--checkpoints", "1", "--device", "cpu",
    "--selection", "source-dev",
)  # fmt: skip


def write(file: Path, **columns: list) -> Path:
    """One parquet file with these columns."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)
    return file


def xnli_rows(language: str, animals: range) -> dict[str, list]:
    """Premise, hypothesis and label columns: three rows, one a label, for each animal."""
    premise, *hypotheses = SENTENCES[language]
    columns: dict[str, list] = {"premise": [], "hypothesis": [], "label": []}
    for number in animals:
        animal = ANIMALS[language][number]
        for label, hypothesis in enumerate(hypotheses):
            columns["premise"].append(premise.format(animal))
            columns["hypothesis"].append(hypothesis.format(animal))
            columns["label"].append(label)
    return columns


def xnli_file(root: Path, language: str, split: str) -> Path:
    return root / "facebook" / "xnli" / language / f"{split}.parquet"


def write_xnli(root: Path) -> Path:
    """A data root with XNLI in three languages: 4 test premises, 4 validation premises, 8 train rows a class."""
    for language in SENTENCES:
        for split, animals in PREMISES.items():
            write(xnli_file(root, language, split), **xnli_rows(language, animals))
    return root


def write_few_shot_splits(root: Path) -> Path:
    """The published splits in small: 1 and 2 shots, three classes, English and French."""
    names = ("split", "language", "shots", "id", "premise", "hypothesis", "label")
    columns: dict[str, list] = {name: [] for name in names}
    for side, shots, animals in (
        ("train", 1, range(16, 17)),
        ("train", 2, range(17, 19)),
        ("dev", 1, range(4, 5)),
        ("dev", 2, range(5, 7)),
    ):
        for language in ("en", "fr"):
            rows = xnli_rows(language, animals)
            for index in range(len(rows["label"])):
                fields = (side, language, shots, f"{shots}-{index}", *(rows[name][index] for name in rows))
                for name, value in zip(names, fields, strict=True):
                    columns[name].append(value)
    return write(root / "xnli-few-shot-splits.parquet", **columns)


def write_paws_x(root: Path) -> None:
    """PAWS-X in English and French: in validation the ids 1-5 and 3-7, in another order; in test 1-2 and 2."""
    for language, text in (("en", "Paper {} was signed in Rome."), ("fr", "L'acte {} fut signé à Rome.")):
        for split, ids in (
            ("validation", [1, 2, 3, 4, 5] if language == "en" else [7, 6, 5, 4, 3]),
            ("test", [1, 2] if language == "en" else [2]),
        ):
            write(
                root / "google-research-datasets" / "paws-x" / language / f"{split}.parquet",
                id=ids,
                sentence1=[text.format(f"{split} {number}") for number in ids],
                sentence2=[text.format(f"{split} {number} bis") for number in ids],
                label=[0 for _ in ids],
            )


def write_ntrex(root: Path, sentences: int = 5) -> Path:
    """NTREX-128 in English, French and Swahili."""
    texts = {"en": "Story {} begins here.", "fr": "L'histoire {} commence ici.", "sw": "Hadithi {} inaanza hapa."}
    columns = {language: [text.format(number) for number in range(sentences)] for language, text in texts.items()}
    return write(root / "ntrex-128.parquet", **columns)


@contextmanager
def registry_as_it_was() -> Iterator[None]:
    """Forgets, at the end, the plug-ins that were loaded within; built-ins stay, as Python imports them once."""
    plugins, before = dict(registry._plugins), {kind: set(registry._classes[kind]) for kind in registry._classes}
    try:
        yield
    finally:
        registry._plugins.clear()
        registry._plugins.update(plugins)
        for kind, classes in registry._classes.items():
            for name in set(classes) - before[kind]:
                if not classes[name].__module__.startswith("xlbench."):
                    del classes[name], registry._loaded[kind][name]


MEAN_POOL = '''
from torch import nn

from xlbench.method import Method
from xlbench.registry import register_method


@register_method("{name}")
class MeanPool(Method):
    """The mean of the last hidden states, and a linear layer."""

    @classmethod
    def supports(cls, task):
        return None

    def build(self, backbone, task):
        self.head = nn.Linear(backbone.dimension, len(task.labels))
        return nn.ModuleDict({{"encoder": backbone.encoder, "head": self.head}})

    def encode(self, rows, language):
        return self.in_template("pair", rows, language)

    def logits(self, batch):
        kept = batch.attention[..., None]
        return self.head((self.backbone.hidden(batch) * kept).sum(1) / kept.sum(1))

    def loss(self, batch):
        return nn.functional.cross_entropy(self.logits(batch).float(), batch.labels)

    def score(self, batch):
        return self.logits(batch).float().log_softmax(-1)
'''


def plugin(file: Path, name: str, *replacements: tuple[str, str]) -> Path:
    """A plug-in file with a working method `name`, some of its text replaced by other text that breaks it."""
    text = MEAN_POOL.format(name=name)
    for old, new in replacements:
        assert old in text, f"nothing to replace: {old}"
        text = text.replace(old, new)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file
