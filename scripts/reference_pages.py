"""Write docs/reference/*.md and llms.txt: commands, settings, files, tasks and the API, from the code that has them.

    python scripts/reference_pages.py

A test holds the pages against what this writes.
"""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import xlbench
from xlbench import registry
from xlbench.board.results import COLUMNS
from xlbench.cli import app
from xlbench.literature import all_leaks
from xlbench.records.record import SCHEMA_VERSION, Record
from xlbench.spec import Lora, MethodChoice, ParallelSettings, RunSpec, Runtime, Suite, Training
from xlbench.spec.suite import Analysis
from xlbench.task_file import TaskFile

ROOT = Path(__file__).parents[1]
WRITTEN = "Written by `python scripts/reference_pages.py`."
EXIT_CODES = """## Exit codes

| code | what it says |
| :-- | :-- |
| 0 | all well |
| 1 | a run, a cell of a comparison or a check failed; what was finished is kept |
| 2 | a mistake in what was asked, said in one sentence |
| 130 | stopped by Ctrl-C; the same command goes on from there |
| 141 | nobody reads the output any more, as in `… \\| head -1` |
"""
LLMS = """# xlbench

> Few-shot cross-lingual transfer methods, compared under equal conditions: the same shots, budget, seeds and
> selection; a leaderboard whose every difference has an interval.

Python, run by the command `xlbench`; start with README.md. Nothing is downloaded with `--model tiny --task logic`.
"""
SECTIONS = (
    ("Learn", "tutorials"),
    ("Do", "how-to"),
    ("Understand", "explanation"),
    ("Reference", "reference"),
    ("More", ""),
)


def cell(text: object) -> str:
    """A text as it may stand in a table."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, tuple(":--" for _ in head), *(tuple(map(cell, row)) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def commands() -> str:
    """Every command with its arguments and options."""
    parts = [f"# Commands\n\n{WRITTEN} `xlbench COMMAND --help` prints the same.\n\n{EXIT_CODES}"]
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        rows = []
        for one in command.params:
            if one.name == "help":
                continue
            names = one.opts if one.param_type_name == "option" else [one.metavar or one.name.upper()]
            called = ", ".join(f"`{option}`" for option in names)
            default = "" if one.default in (None, False, ()) or callable(one.default) else f"`{one.default}`"
            words, _, within = (one.help or "").replace("\\[", "[").removesuffix("]").partition(" [default: ")
            rows.append((called, words, "required" if one.required else f"`{within}`" if within else default))
        words, options = cell(inspect.cleandoc(command.help or "")), table(("option", "what it is", "default"), rows)
        parts.append(f"## xlbench {name}\n\n{words}\n\n{options}")
    return "\n".join(parts)


def kind_of(annotation: Any) -> str:
    """A type as a reader knows it: without modules and validators."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind_of(inner[0])
    if origin in (Union, UnionType):
        return " | ".join(map(kind_of, inner))
    if origin is Literal:
        return " | ".join(map(repr, inner))
    if origin is not None:
        return f"{kind_of(origin)}[{', '.join(map(kind_of, inner))}]"
    return {type(None): "None", Any: "Any", ...: "…"}.get(annotation) or str(annotation.__name__)


def fields(model: type[BaseModel]) -> str:
    """A model's fields: name, type, what it is, default."""
    rows = []
    for name, field in model.model_fields.items():
        default = (
            field.get_default(call_default_factory=True)
            if field.default is PydanticUndefined and field.default_factory
            else field.default
        )
        shown = (
            "required"
            if field.is_required()
            else ""
            if default in (None, (), {}, "") or isinstance(default, BaseModel)
            else f"`{default}`"
        )
        kind = kind_of(field.annotation)
        rows.append((f"`{name}`", f"`{kind}`", field.description or "", shown))
    return table(("field", "type", "what it is", "default"), rows)


def models(title: str, words: str, named: Mapping[str, type[BaseModel]]) -> str:
    """A page of models, each under its head."""
    parts = [f"# {title}\n\n{words} {WRITTEN}\n"]
    parts += [
        f"## {head}\n\n{cell(inspect.cleandoc(model.__doc__ or ''))}\n\n{fields(model)}"
        for head, model in named.items()
    ]
    return "\n".join(parts)


def record() -> str:
    """The record's schema, with the comments that stand in its class."""
    rows = []
    comments = dict(re.findall(r"^    (\w+): [^#\n]+#\s*(.+)$", inspect.getsource(Record), re.MULTILINE))
    for name, field in Record.model_fields.items():
        kind = kind_of(field.annotation)
        rows.append((f"`{name}`", f"`{kind}`", comments.get(name, "")))
    columns, schema = ", ".join(f"`{name}`" for name in COLUMNS), table(("field", "type", "what it is"), rows)
    return f"""# Records and results

{WRITTEN}

## record.json

Schema {SCHEMA_VERSION}. Earlier ones are read, and upgraded in memory.

{schema}
## results.csv, results.parquet

A row a run and language; `score` is of `metric`, a share of 1; `source` says whether the language is that of the shots;
rows of one `group` may be compared. Columns: {columns}.
"""


def tasks() -> str:
    """Every task: kind, languages, licence, citation, known leaks."""
    parts = [f"# Tasks in full\n\n{WRITTEN} [Which have run on real data](../tasks.md).\n"]
    for name in registry.names("task"):
        task: Any = registry.get("task", name)
        parts.append(f"## {name}\n\n{cell(registry.find('task', name).summary)}\n")
        rows = [
            ("kind", task.problem.kind), ("labels", ", ".join(task.problem.labels) or "a row's own choices"),
            ("metrics", ", ".join(task.problem.metrics)), ("unit", task.unit),
            (f"languages ({len(task.languages)})", ", ".join(task.languages)), ("licence", task.license),
            ("cite", task.citation),         ]  # fmt: skip
        rows += [
            ("known leak", f"{leak.what} ({leak.source}); models {', '.join(leak.models)}")
            for leak in all_leaks()
            if leak.task == name
        ]
        parts.append(table(("", ""), rows))
    return "\n".join(parts)


def api() -> str:
    """The public names of the package with their signatures and docstrings."""
    parts = [f"# From Python\n\n{WRITTEN} These names do not move; [how they are used](../how-to/python.md).\n"]
    for name in sorted(xlbench.__all__):
        thing = getattr(xlbench, name)
        if not callable(thing) or not inspect.getdoc(thing):
            continue
        kind = "class" if inspect.isclass(thing) else "function"
        signature = "" if inspect.isclass(thing) and issubclass(thing, BaseModel) else _signature(thing)
        text = f"{name}{signature}\n\n{inspect.getdoc(thing)}"
        parts.append(f"## {name}\n\n{kind} of `{thing.__module__}`\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def _signature(thing: Any) -> str:
    try:
        return str(inspect.signature(thing))
    except (TypeError, ValueError):
        return ""


def pages() -> dict[str, str]:
    """File → text, of all that is written here."""
    reference = {
        "commands": commands(),
        "settings": models(
            "Settings of runs and suites",
            "A field is an option of the same name (`--test-units`), a key of a suite's `[run]` table, and an argument "
            "from Python.",
            {"A run": RunSpec, "Training": Training, "LoRA": Lora, "Parallel text": ParallelSettings, "A suite": Suite,
             "A method of a suite": MethodChoice, "A declared analysis": Analysis, "Where to run": Runtime},
        ),
        "task-file": models("A task's file", "What `--task FILE.toml` may say.", {"Fields": TaskFile}),
        "records": record(),
        "tasks": tasks(),
        "api": api(),
    }  # fmt: skip
    return {f"docs/reference/{name}.md": text.rstrip() + "\n" for name, text in reference.items()}


def llms() -> Iterator[str]:
    """llms.txt: the pages by section, each with its title."""
    yield LLMS
    for title, folder in SECTIONS:
        yield f"## {title}\n"
        for page in sorted((ROOT / "docs" / folder).glob("*.md")):
            head = page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
            yield f"- [{head}]({page.relative_to(ROOT)})"
        yield ""


if __name__ == "__main__":
    (ROOT / "docs" / "reference").mkdir(exist_ok=True)
    for name, text in pages().items():
        (ROOT / name).write_text(text, encoding="utf-8")
    (ROOT / "llms.txt").write_text("\n".join(llms()), encoding="utf-8")
