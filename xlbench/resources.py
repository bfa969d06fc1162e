"""Resources: what methods may learn from beside the shots, by name; a method declares what it `needs`.

A resource says what it loads, and which texts of that the contamination guard must read. A run's
`resources: {name: settings}` holds its settings. A package registers its own with `register_resource`, as methods
and tasks are registered.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar, Generic, TypeVar

from xlbench.corpora import CORPORA, Pair
from xlbench.errors import XlbenchError, unknown
from xlbench.registry import register_resource
from xlbench.sources import DataSource
from xlbench.spec import Frozen, ParallelSettings
from xlbench.task import Row, Task

Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Surroundings:
    """What a resource may look at when it loads: the task, the test languages, the shots, and where data lie."""

    task: Task
    languages: tuple[str, ...]
    shots: Sequence[Row]
    source: DataSource

    @property
    def targets(self) -> tuple[str, ...]:
        """The test languages other than the source."""
        return tuple(language for language in self.languages if language not in self.task.sources)


class Resource(Generic[Loaded]):
    """The base of every resource: settings, and how they become what a method is given."""

    name: ClassVar[str]  # set by @register_resource
    Settings: ClassVar[type[Frozen]] = Frozen

    def __init__(self, settings: Frozen) -> None:
        self.settings: Any = settings

    def resolved(self, task: Task) -> dict[str, Any]:
        """The settings with every choice made, as a run's identity holds them. What else the value depends on, and is
        neither its code nor one of its texts (a table of numbers on disk), belongs here too. Raises XlbenchError."""
        return self.settings.model_dump(mode="json")

    def load(self, around: Surroundings) -> Loaded:
        """What a method is given as `resources[name]`. Raises XlbenchError where it cannot be had."""
        raise NotImplementedError

    def texts(self, loaded: Loaded) -> Iterable[tuple[str, str]]:
        """(id, text) of every text in it: none may be a test sentence, and the run's identity holds them all."""
        raise NotImplementedError


@register_resource("parallel")
class ParallelText(Resource[Mapping[str, Sequence[Pair]]]):
    """Translated pairs by target language, from a corpus; a language that the corpus lacks is absent."""

    Settings = ParallelSettings

    def resolved(self, task: Task) -> dict[str, Any]:
        corpus, own = self.settings.corpus or task.parallel, [task.name] if task.parallel == task.name else []
        if corpus is None:
            raise XlbenchError(f"task {task.name} has no parallel corpus of its own; name one with --parallel")
        if corpus not in CORPORA and corpus not in own:
            raise unknown("parallel corpus", corpus, [*CORPORA, *own])
        return {"corpus": corpus, "size": self.settings.size}

    def load(self, around: Surroundings) -> Mapping[str, Sequence[Pair]]:
        chosen, task = self.resolved(around.task), around.task
        asked = type(task), task.sources, chosen["corpus"]
        pairs = {
            language: _pairs(*asked, language, chosen["size"], around.source)  # type: ignore[arg-type]
            for language in around.targets
        }
        return {language: side for language, side in pairs.items() if side}

    def texts(self, loaded: Mapping[str, Sequence[Pair]]) -> Iterable[tuple[str, str]]:
        for side in loaded.values():
            for pair in side:
                yield from ((pair.id, text) for text in (*pair.source, *pair.target))


@cache
def _pairs(
    task: type[Task], sources: tuple[str, ...], corpus: str, language: str, size: int, source: DataSource
) -> tuple[Pair, ...]:
    """Read once a process, for the cells of a suite share them."""
    if corpus == task.name:
        return tuple(task(sources).parallel_pairs(language, size, source))
    pairs, texts = CORPORA[corpus](sources[0], language, size, source), len(task.fields)
    return tuple(replace(pair, source=pair.source[:texts], target=pair.target[:texts]) for pair in pairs)
