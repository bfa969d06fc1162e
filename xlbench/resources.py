"""Resources: what methods may learn from beside the shots, by name; a method declares what it `needs`.

A resource says what it loads, and which texts of that the contamination guard must read. A run's
`resources: {name: settings}` holds its settings. A package registers its own with `register_resource`, as methods
and tasks are registered.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
from pydantic import Field

from xlbench.corpora import CORPORA, Pair
from xlbench.dictionaries import Align, WordSource, read_muse
from xlbench.errors import XlbenchError, unknown
from xlbench.language_codes import language_of
from xlbench.problem import TokenLabelling
from xlbench.registry import register_resource
from xlbench.sources import DataSource
from xlbench.spec import Frozen, ParallelSettings
from xlbench.task import Row, Task, Untranslated

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


class TextSettings(Frozen):
    """Settings of the resource `unlabelled`: where text comes from, and how much of it."""

    origin: Literal["parallel", "train", "folder", "any"] | None = Field(
        None,
        description="sides of a parallel corpus; the task's train rows without labels; a folder's files; or any: the "
        "corpus, and train rows of languages that it lacks; none: what is named below, else any",
    )
    folder: str | None = Field(
        None, description="folder of a file a language, as sw.txt: a text a line, or those of all fields, tabs between"
    )
    corpus: str | None = Field(None, description="parallel corpus, as paws-x or ntrex-128")
    size: int = Field(1000, ge=1, description="rows of text per language, at most")


@register_resource("unlabelled")
class UnlabelledText(Resource[Mapping[str, Sequence[tuple[str, ...]]]]):
    """Rows of texts without labels by language, the sources' too; a language without text is absent.

    From the parallel corpus and the train split a row has as many texts as the task has fields, in their order; from a
    folder, as many as a line has. Where the task says that a machine translated its train split, `train` is that text.
    """

    Settings = TextSettings

    def resolved(self, task: Task) -> dict[str, Any]:
        settings = self.settings
        named = [name for name in ("folder", "corpus") if getattr(settings, name) is not None]
        origins = [{"folder": "folder", "corpus": "parallel"}[name] for name in named]
        stated = [{"any": "parallel"}.get(settings.origin, settings.origin)] if settings.origin else []
        if len({*origins, *stated}) > 1 or (settings.origin == "folder" and not named):
            told = ", ".join(f"{name}={getattr(settings, name)}" for name in ("origin", "folder", "corpus"))
            raise XlbenchError(f"the resource unlabelled has one origin of text, and the folder for one: it has {told}")
        origin = settings.origin or (origins or ["any"])[0]
        origin = "train" if origin == "any" and task.parallel is None else origin
        chosen = {"origin": origin, "size": settings.size}
        if origin not in ("parallel", "any"):
            return chosen
        corpus = ParallelText(ParallelSettings(corpus=settings.corpus, size=settings.size)).resolved(task)["corpus"]
        return {**chosen, "corpus": corpus}

    def load(self, around: Surroundings) -> Mapping[str, Sequence[tuple[str, ...]]]:
        chosen, task = self.resolved(around.task), around.task
        spoken = dict.fromkeys((*task.sources, *around.languages))
        if chosen["origin"] in ("parallel", "any"):
            settings = ParallelSettings(corpus=chosen["corpus"], size=chosen["size"])
            pairs = ParallelText(settings).load(around)
            texts = {task.source: tuple(dict.fromkeys(pair.source for side in pairs.values() for pair in side))}
            texts |= {language: tuple(dict.fromkeys(pair.target for pair in side)) for language, side in pairs.items()}
            if chosen["origin"] == "any":
                texts |= {name: self._train(task, name, around) for name in spoken if not texts.get(name)}
        elif chosen["origin"] == "folder":
            texts = {language: self._lines(language) for language in spoken}
        else:
            texts = {language: self._train(task, language, around) for language in spoken}
        return {language: texts[language][: chosen["size"]] for language in spoken if texts.get(language)}

    def texts(self, loaded: Mapping[str, Sequence[tuple[str, ...]]]) -> Iterable[tuple[str, str]]:
        for language, rows in loaded.items():
            yield from ((f"{language}-{number}", text) for number, row in enumerate(rows) for text in row)

    def _lines(self, language: str) -> tuple[tuple[str, ...], ...]:
        """The lines of a language's file, without those that are empty; none where there is no file."""
        folder = Path(self.settings.folder).expanduser()
        if not folder.is_dir():
            raise XlbenchError(
                f"resource unlabelled: there is no folder {folder}; give one with a file a language, as sw.txt"
            )
        file = folder / f"{language}.txt"
        if not file.is_file():
            return ()
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as fault:
            raise XlbenchError(f"{file}: byte {fault.start} is not UTF-8; save the file as UTF-8") from fault
        fields = (tuple(text.strip() for text in line.split("\t") if text.strip()) for line in lines)
        return tuple(row for row in fields if row)

    def _train(self, task: Task, language: str, around: Surroundings) -> tuple[tuple[str, ...], ...]:
        """The texts of a language's train rows, those of the shots left out; none where it has no such rows."""
        try:
            rows = task.read("train", language, around.source)
        except XlbenchError:
            return ()
        learnt = {row.id for row in around.shots}
        rest = [row for row in rows if row.id not in learnt]
        order = np.random.default_rng(0).permutation(len(rest))[: self.settings.size]
        joined = isinstance(task.problem, TokenLabelling)
        return tuple((" ".join(rest[place].texts),) if joined else rest[place].texts for place in order)


class DictionarySettings(Frozen):
    """Settings of the resource `dictionary`: where words come from."""

    folder: str | None = Field(
        None, description="folder of MUSE's files, as en-de.txt; none: muse in the data root, for languages that it has"
    )
    corpus: str | None = Field(
        None, description="parallel corpus that others are induced from, as ntrex-128; none: the task's own choice"
    )
    size: int = Field(2000, ge=1, description="translated pairs per target language, at most")
    align: Align = Field("ibm1", description="IBM model 1 both ways, or Dice's coefficient over sentences")


@register_resource("dictionary")
class WordDictionaries(Resource[Mapping[str, WordSource]]):
    """What word dictionaries from the source to the target languages come from: MUSE's files where there are any, else
    parallel text; a language with neither is absent. `WordSource.dictionary` makes them."""

    Settings = DictionarySettings

    def resolved(self, task: Task) -> dict[str, Any]:
        settings = self.settings
        named = {"size": settings.size, "align": settings.align}
        if settings.corpus is None and task.parallel is None:
            return {**named, "corpus": None}
        corpus = ParallelText(ParallelSettings(corpus=settings.corpus, size=settings.size)).resolved(task)["corpus"]
        return {**named, "corpus": corpus}

    def load(self, around: Surroundings) -> Mapping[str, WordSource]:
        chosen, task = self.resolved(around.task), around.task
        settings = ParallelSettings(corpus=chosen["corpus"], size=chosen["size"])
        pairs = ParallelText(settings).load(around) if chosen["corpus"] else {}
        folder = self._folder(around.source)
        found = {}
        for language in around.targets:
            file = folder and folder / f"{language_of(task.source)}-{language_of(language)}.txt"
            if file and file.is_file():
                found[language] = WordSource(task.source, language, entries=read_muse(file))
            elif pairs.get(language):
                own = tuple(pairs[language])
                found[language] = WordSource(task.source, language, pairs=own, align=self.settings.align)
        return found

    def _folder(self, source: DataSource) -> Path | None:
        if self.settings.folder is None:
            return source.root and source.root / "muse"
        folder = Path(self.settings.folder).expanduser()
        if not folder.is_dir():
            raise XlbenchError(
                f"resource dictionary: there is no folder {folder}; give one with files such as en-de.txt"
            )
        return folder

    def texts(self, loaded: Mapping[str, WordSource]) -> Iterable[tuple[str, str]]:
        for language, words in loaded.items():
            yield from ((f"{language}-{number}", " ".join(entry)) for number, entry in enumerate(words.entries))
            yield from ((pair.id, text) for pair in words.pairs for text in (*pair.source, *pair.target))


@register_resource("translations")
class ShotTranslations(Resource[Mapping[str, Sequence[Row]]]):
    """The shots in each target language, row by row, where the task's train split has them; where it has not, the
    language is absent. Who translated them the task says (`machine_translated`)."""

    def load(self, around: Surroundings) -> Mapping[str, Sequence[Row]]:
        found: dict[str, Sequence[Row]] = {}
        ours = [row for row in around.shots if row.language in around.task.sources]
        for language in around.targets:
            with suppress(Untranslated):
                found[language] = around.task.translated(ours, language, around.source)
        return found

    def texts(self, loaded: Mapping[str, Sequence[Row]]) -> Iterable[tuple[str, str]]:
        for rows in loaded.values():
            yield from ((row.id, text) for row in rows for text in (*row.texts, *row.choices))


@cache
def _pairs(
    task: type[Task], sources: tuple[str, ...], corpus: str, language: str, size: int, source: DataSource
) -> tuple[Pair, ...]:
    """Read once a process, for the cells of a suite share them."""
    if corpus == task.name:
        return tuple(task(sources).parallel_pairs(language, size, source))
    pairs, texts = CORPORA[corpus](sources[0], language, size, source), len(task.fields)
    return tuple(replace(pair, source=pair.source[:texts], target=pair.target[:texts]) for pair in pairs)
