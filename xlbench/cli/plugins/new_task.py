"""`xlbench new task`: a look at files of rows, and a task of them in TOML, each guess with its reason."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xlbench.errors import XlbenchError
from xlbench.host.data_files import SUFFIXES, columns_in
from xlbench.language_codes import SHORT
from xlbench.pools import SPLITS
from xlbench.sources import Table, read_files
from xlbench.table_task import names

SPLIT_WORDS = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
    "dev": "validation", "test": "test", "eval": "test",
}  # fmt: skip
LABELS = names("label labels category class sentiment intent topic answer gold target ner_tags tags upos")
KEYS = ("id", "idx", "index_id", "row_id", "guid", "key")
LANGUAGES = ("language", "lang", "locale")
MOST_LABELS = 200


@dataclass(frozen=True)
class _File:
    path: Path
    pattern: str
    split: str  # as the file names it; empty where it names none
    language: str


def write_task(data: Path, out: Path | None) -> list[str]:
    """Write a task's file for some data; what was guessed, and why, in lines. Raises XlbenchError where nothing is
    to be guessed from, or the file is there already."""
    if not data.exists():
        raise XlbenchError(f"there is no file or folder {data}")
    folder = data if data.is_dir() else data.parent
    found = sorted(path for path in ([data] if data.is_file() else data.rglob("*")) if path.suffix in SUFFIXES)
    if not found:
        raise XlbenchError(f"{data} holds no file that is read ({', '.join(SUFFIXES)})")
    out = out or folder / f"{_name(data)}.toml"
    if out.exists():
        raise XlbenchError(f"{out} is there already; give another place with --out, or remove it")
    named = [_named(path, folder) for path in found]
    (pattern, _), *_ = Counter(file.pattern for file in named).most_common(1)
    files = [file for file in named if file.pattern == pattern]
    lines, told = _task(_name(data), out, folder, pattern, files)
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    left = len(named) - len(files)
    more = [f"left out: {left} files of another kind than {pattern}"] if left else []
    return [*told, *more, f"wrote {out}; look at it, then `xlbench check {out}` and `xlbench run --task {out} …`"]


def _name(data: Path) -> str:
    """A task's name of a folder's or a file's."""
    stem = data.resolve().stem if data.is_file() else data.resolve().name
    return "-".join(re.findall(r"[A-Za-z0-9]+", stem)).lower() or "my-task"


def _named(path: Path, folder: Path) -> _File:
    """What a file's name says: its split and language, and the pattern with holes in their places."""
    split, language, parts = "", "", []
    for whole in re.split(r"([/. ])", str(path.relative_to(folder).with_suffix(""))):
        for part in [whole] if _is_language(whole) else re.split(r"([_\-])", whole):
            if not split and part.lower() in SPLIT_WORDS:
                split = part
                parts.append("{split}")
            elif not language and _is_language(part):
                language = part
                parts.append("{language}")
            else:
                parts.append(part)
    return _File(path, "".join(parts) + path.suffix, split, language)


def _is_language(part: str) -> bool:
    """Whether a part of a name is a language's code: `de`, `zh-CN`, `eng_Latn`, of a language that is known."""
    match = re.fullmatch(r"([a-z]{2,3})([-_][A-Z][a-z]{3})?([-_][A-Z]{2})?", part)
    return match is not None and (match[1] in SHORT or match[1] in SHORT.values())


def _task(name: str, out: Path, folder: Path, pattern: str, files: Sequence[_File]) -> tuple[list[str], list[str]]:
    first = next((file for file in files if SPLIT_WORDS.get(file.split.lower()) == "train"), files[0])
    columns = columns_in(first.path)
    table = read_files((first.path,), tuple(columns))
    told: list[str] = []

    def said(key: str, value: Any, why: str) -> list[str]:
        told.append(f"{key} = {_toml(value)}: {why}")
        return [f"# {why}", f"{key} = {_toml(value)}"]

    language_column = next((name for name in columns if name.lower() in LANGUAGES and "{language}" not in pattern), "")
    languages = list(dict.fromkeys(file.language for file in files if file.language))
    if language_column:
        languages = list(dict.fromkeys(map(str, table.columns[language_column])))
    if not languages:
        raise XlbenchError(
            f"no language is told by the names of the files ({files[0].path.name}), and no column is called "
            f"{' or '.join(LANGUAGES)}; name files as train.en.csv or en/train.csv, or add the column"
        )
    label, why_label = _label_column(table, columns)
    key = next((name for name in columns if name.lower() in KEYS and len(set(table.columns[name])) == len(table)), "")
    texts = _text_columns(table, [name for name in columns if name not in {label, key, language_column}])
    if not texts:
        raise XlbenchError(
            f"{first.path} has no column of texts beside {label!r}; its columns are {', '.join(columns)}"
        )
    source = "en" if "en" in languages else next((code for code in languages if code.startswith("en")), first.language)
    source = source or languages[0]
    lines = ["# A task of your own; every line is a guess to be looked at. Fields: docs/how-to/own-data.md", ""]
    lines += said("name", name, "the folder's or file's name")
    lines += ['description = "What the task asks, and where the rows come from."']
    tokens = isinstance(next(iter(table.columns[texts[0]]), None), list)
    values = _values(files, label, tokens)
    kind = "token-labelling" if tokens else "classification"
    lines += said("kind", kind, "rows hold lists of words" if tokens else "rows have one label")
    called = table.class_names.get(label, ())
    labels = list(called) if called and not all(text.isdigit() for text in called) else values
    lines += said("labels", labels, f"the values of {label!r}" + (", as the file names them" if called else ""))
    why = "English is there" if source.startswith("en") else "the language of the first file"
    lines += said("source", source, why)
    why = f"the values of the column {language_column!r}" if language_column else "the names of the files"
    lines += said("languages", [source, *(code for code in languages if code != source)], why)
    lines += said("files", _relative(out, folder, pattern), "how the files are named")
    if language_column:
        lines += said("language_column", language_column, "it names each row's language")
    splits = {SPLIT_WORDS[file.split.lower()]: file.split for file in files if file.split}
    if not splits:
        lines += said("split_names", dict.fromkeys(SPLITS, "all"),
                      "no name tells a split: units are dealt out, 3 of 5 to train")  # fmt: skip
    else:
        whole = {split: splits.get(split) or splits.get("train") or next(iter(splits.values())) for split in SPLITS}
        if any(split != named for split, named in whole.items()):
            missing = [split for split in SPLITS if split not in splits]
            why = (
                f"no file is called {' or '.join(missing)}: its units come from another's" if missing else "their names"
            )
            lines += said("split_names", whole, why)
    lines += said("fields", [_field(text) for text in texts], "the columns of texts")
    if tokens or any(_field(text) != text for text in texts):
        lines += [f"columns = {_toml({_field(text): text for text in texts})}"]
    lines += said("label_column", label, why_label)
    aligned = _aligned(files, label, key)
    if key and aligned:
        lines += said("key", [key], "each row has its own")
    lines += said("aligned", aligned, "test files have the same rows and labels in every language" if aligned
                  else "test files differ in rows or labels: each language is tested on its own")  # fmt: skip
    lines += ['license = "not given"', 'citation = "not given"', ""]
    lines += ["# A word a label, which prompt methods score; left out, the labels' own names.", "# [label_words]",
              f"# {_toml(source)[1:-1] if source.isalpha() else _toml(source)} = {_toml(labels)}"]  # fmt: skip
    return lines, told


def _relative(out: Path, folder: Path, pattern: str) -> str:
    """The pattern as seen from the file's own folder."""
    inside = folder.resolve()
    try:
        return str(inside.relative_to(out.resolve().parent) / pattern)
    except ValueError:
        return str(inside / pattern)


def _field(column: str) -> str:
    """A column's name as a template can hold it."""
    return re.sub(r"\W+", "_", column).strip("_") or "text"


def _label_column(table: Table, columns: Sequence[str]) -> tuple[str, str]:
    """The column of labels and why it is taken for that. Raises XlbenchError where there is none."""
    for name in columns:
        if name.lower() in LABELS:
            return name, "its name"
    numbers = {name: len({str(value) for value in table.columns[name]}) for name in columns}
    few = {name: number for name, number in numbers.items() if 1 < number <= max(2, len(table) // 10)}
    if not few:
        raise XlbenchError(
            f"{table.place} has no column that looks like labels (called {', '.join(LABELS[:3])}, …, or of few "
            f"values); its columns are {', '.join(columns)}"
        )
    best = min(few, key=lambda name: few[name])
    return best, f"it has {few[best]} values in {len(table)} rows"


def _text_columns(table: Table, columns: Sequence[str]) -> list[str]:
    """The columns of texts: most of whose values differ and hold letters, or that hold lists of words."""
    found = []
    for name in columns:
        values = [value for value in table.columns[name] if value is not None]
        lists = bool(values) and all(isinstance(value, list) for value in values[:50])
        wordy = sum(isinstance(value, str) and (" " in value.strip() or len(value) > 12) for value in values)
        if lists or (values and 2 * wordy > len(values)):
            found.append(name)
    return found[:1] if any(isinstance((table.columns[name] or [None])[0], list) for name in found) else found


def _values(files: Sequence[_File], label: str, tokens: bool) -> list[str]:
    """The different labels in all files. Raises XlbenchError for more than a task may have."""
    seen: dict[str, None] = {}
    for file in files:
        for value in read_files((file.path,), (label,)).columns[label]:
            every = value if isinstance(value, list) else str(value).split() if tokens else [value]
            seen.update(dict.fromkeys(str(one).strip() for one in every if one is not None))
        if len(seen) > MOST_LABELS:
            raise XlbenchError(f"the column {label!r} has more than {MOST_LABELS} values; it holds no labels")
    return sorted(seen, key=lambda text: (not text.isdigit(), int(text) if text.isdigit() else 0, text))


def _aligned(files: Sequence[_File], label: str, key: str) -> bool:
    """Whether the test files of all languages have the same labels, by key or in one order."""
    tests = [file for file in files if SPLIT_WORDS.get(file.split.lower()) == "test"] or files
    facts = []
    for file in tests:
        table = read_files((file.path,), (label, *([key] if key else [])))
        labels = [str(value) for value in table.columns[label]]
        facts.append(sorted(zip(map(str, table.columns[key]), labels, strict=True)) if key else labels)
    return len(tests) > 1 and all(fact == facts[0] for fact in facts)


def _toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(name)} = {_toml(one)}" for name, one in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value)
