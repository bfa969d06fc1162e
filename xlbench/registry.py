"""name → class, for methods, tasks and resources: from this package, from entry points, and from --plugin files.

What exists is found by reading source files (their syntax tree), not by importing them, so that listing
methods does not import torch; a plug-in's code runs when it is first asked for. A plug-in given by --plugin
runs at once: it is code like any other, and is trusted like any other.
"""

import ast
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, TypeVar

from xlbench.errors import XlbenchError, unknown

Kind = Literal["method", "task", "resource"]
Registered = TypeVar("Registered", bound=type)

SAYS_NOTHING = {"search", "citation", "license", "templates"}  # class variables that change no run, or are hashed apart
_HOMES: dict[Kind, str] = {"method": "xlbench.methods", "task": "xlbench.tasks", "resource": "xlbench.resources"}


@dataclass(frozen=True)
class Entry:
    """A registered name: where it comes from, what its docstring's first line says, and how to get it."""

    name: str
    place: str  # "methods/mpt.py:12", or "entry point of package 0.1"
    origin: str  # the whole path and line, which tells apart what `place` shortens to the same
    summary: str
    module: str | EntryPoint | None = None  # what to import; none: loaded already


_classes: dict[Kind, dict[str, type]] = {kind: {} for kind in _HOMES}
_loaded: dict[Kind, dict[str, Entry]] = {kind: {} for kind in _HOMES}
_plugins: dict[str, str] = {}


def register_method(name: str) -> Callable[[Registered], Registered]:
    """Decorator: the class below is the method `name`. Raises XlbenchError where the name is taken."""
    return _register("method", name)


def register_task(name: str) -> Callable[[Registered], Registered]:
    """Decorator: the class below is the task `name`. Raises XlbenchError where the name is taken."""
    return _register("task", name)


def register_resource(name: str) -> Callable[[Registered], Registered]:
    """Decorator: the class below is the resource `name`. Raises XlbenchError where the name is taken."""
    return _register("resource", name)


def _register(kind: Kind, name: str) -> Callable[[Registered], Registered]:
    if not name or len(name) > 80 or not all(part.isalnum() and part.isascii() for part in name.split("-")):
        raise XlbenchError(f"a {kind}'s name is letters and digits joined by '-', at most 80, not {name!r}")

    def keep(cls: Registered) -> Registered:
        if not isinstance(cls, type):
            raise XlbenchError(f"@register_{kind}({name!r}) decorates a class, not {cls!r}")
        if isinstance(needs := getattr(cls, "needs", ()), str):  # it would be read letter by letter
            raise XlbenchError(f"the {kind} {name!r}: its `needs` is a tuple of names, as needs = ({needs!r},)")
        entry = Entry(name, *_place(cls), _first_line(cls.__doc__))
        listed = _listed(kind).get(name)
        other = _loaded[kind].get(name) or listed
        point = listed.module if listed is not None else None
        promised = isinstance(point, EntryPoint) and f"{point.module}.".startswith(f"{cls.__module__}.")
        if other is not None and other.origin != entry.origin and not promised:
            raise _twice(kind, other, entry)
        cls.name = name  # type: ignore[attr-defined]
        _classes[kind][name], _loaded[kind][name] = cls, entry
        return cls

    return keep


def _twice(kind: Kind, entry: Entry, other: Entry) -> XlbenchError:
    first, second = (entry.place, other.place) if entry.place != other.place else (entry.origin, other.origin)
    return XlbenchError(
        f"the {kind} {entry.name!r} is registered twice: in {first} and in {second}; rename one of them"
    )


def names(kind: Kind) -> list[str]:
    """Every registered name of a kind, sorted."""
    return sorted({**_listed(kind), **_loaded[kind]})


def entries(kind: Kind) -> list[Entry]:
    """Every registered name with its place and summary, sorted by name."""
    return [find(kind, name) for name in names(kind)]


def find(kind: Kind, name: str) -> Entry:
    """The entry of a name, nothing imported. Raises XlbenchError for an unknown one."""
    entry = _loaded[kind].get(name) or _listed(kind).get(name)
    if entry is None:
        raise unknown(kind, name, names(kind))
    return entry


def get(kind: Kind, name: str) -> type:
    """The class registered as `name`, imported now if need be.

    Raises XlbenchError for an unknown name (with a near miss and the list), and for a plug-in that fails to
    import or does not register the name that it promised.
    """
    if name not in _classes[kind]:
        entry = find(kind, name)
        try:
            if isinstance(entry.module, EntryPoint):
                entry.module.load()
            elif entry.module is not None:
                importlib.import_module(entry.module)
        except XlbenchError:
            raise
        except Exception as fault:
            raise XlbenchError(
                f"the {kind} {name!r} ({entry.place}) does not import: {type(fault).__name__}: {fault}"
            ) from fault
        if name not in _classes[kind]:
            raise XlbenchError(f"{entry.place} promises the {kind} {name!r} but does not register it")
    return _classes[kind][name]


def load_plugins(plugins: Iterable[str]) -> None:
    """`load_plugin` of each, in their order."""
    for plugin in plugins:
        load_plugin(plugin)


def load_plugin(plugin: str) -> None:
    """Import a plug-in file (`my_method.py`, or `my_task.toml`) or module (`my_package.methods`), which registers its
    classes.

    Loading the same plug-in again does nothing. Raises XlbenchError where it is missing, does not import, or
    registers nothing.
    """
    path = Path(os.path.expanduser(plugin))
    is_file = plugin.endswith((".py", ".toml")) or os.path.isfile(path)
    key = str(path.resolve()) if is_file else plugin
    if key in _plugins:
        return
    before = [id(cls) for classes in _classes.values() for cls in classes.values()]
    try:
        if is_file:
            if not os.path.isfile(path):
                raise XlbenchError(f"the plug-in file {plugin} does not exist")
            if path.suffix == ".toml":
                importlib.import_module("xlbench.task_file").task_of(path)
            else:
                _import_file(path)
        else:
            if "" not in sys.path and str(Path.cwd()) not in sys.path:
                sys.path.append(str(Path.cwd()))
            importlib.import_module(plugin)
    except (XlbenchError, KeyboardInterrupt):
        raise
    except BaseException as fault:  # a plug-in may even call sys.exit; the sentence must still come
        line = _line_in(fault, path) if is_file else ""
        raise XlbenchError(f"the plug-in {plugin} does not import{line}: {type(fault).__name__}: {fault}") from fault
    after = [cls for classes in _classes.values() for cls in classes.values()]
    if not any(id(cls) not in before or f"{cls.__module__}.".startswith(f"{plugin}.") for cls in after):
        raise XlbenchError(
            f"the plug-in {plugin} registers nothing; decorate a class with @register_method, @register_task or "
            "@register_resource"
        )
    _plugins[key] = plugin


def task_name(given: str) -> str:
    """A task's name, or that of the task that a TOML file says, which is loaded like a plug-in. Raises XlbenchError."""
    if not given.endswith(".toml"):
        return given
    load_plugin(given)
    place = str(Path(os.path.expanduser(given)))
    return next(name for name, cls in _classes["task"].items() if vars(cls).get("place") == place)


def files_of(cls: type) -> list[Path]:
    """The files that define a plug-in's class and the classes below it: those that they stand in, or their folders'.

    Their code enters the hash of a run, so that a record never outlives the code it was made with unnoticed. What
    this package holds beside its plug-ins has PROTOCOL for that, and libraries have versions.
    """
    files: dict[Path, None] = {}  # in the order of the classes, wherever they lie
    for base in cls.__mro__:
        root = base.__module__.partition(".")[0]
        own = root != "xlbench" or base.__module__.startswith(tuple(f"{home}." for home in _HOMES.values()))
        if own and root not in {*sys.stdlib_module_names, "torch", "pydantic", "transformers", "peft"}:
            file = Path(inspect.getfile(base))
            inside = file.parent.rglob("*") if file.name == "__init__.py" else [file]
            files.update(dict.fromkeys(path for path in sorted(inside) if path.suffix in {".py", ".tsv"}))
    return list(files)


def code_of(plugin: type) -> str:
    """The code of the files that define a plug-in, without what cannot change a number: comments, docstrings, layout,
    descriptions of settings, citations, and the search space, which is hashed where it is searched."""
    parts = []
    for file in files_of(plugin):
        text = file.read_text(encoding="utf-8")
        parts.append(bare(text) if file.suffix == ".py" else text)
    return "\n".join(parts)


@lru_cache(maxsize=256)  # of a text, for every cell of a suite asks
def bare(source: str) -> str:
    """Python code in the one form that its syntax tree has, without docstrings and what SAYS_NOTHING."""
    return ast.unparse(_Bare().visit(ast.parse(source)))


class _Bare(ast.NodeTransformer):
    def visit(self, node: Any) -> Any:
        if isinstance(node, ast.ClassDef):
            node.body = [statement for statement in node.body if not _names(statement) & SAYS_NOTHING]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Field":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "description"]
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False) is not None
            node.body = node.body[docstring:] or [ast.Pass()]
        return self.generic_visit(node)


def _names(statement: ast.stmt) -> set[str]:
    """The names that a statement assigns to."""
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _import_file(path: Path) -> None:
    name = f"xlbench_plugin_{path.stem}_{abs(hash(str(path.resolve()))):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise XlbenchError(f"the plug-in {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _line_in(fault: BaseException, path: Path) -> str:
    """The line of the plug-in's own file where it failed, as ` (line 3)`."""
    if isinstance(fault, SyntaxError):
        return f" (line {fault.lineno})"
    frames = traceback.extract_tb(fault.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == path.resolve()]
    return f" (line {lines[-1]})" if lines else ""


@cache
def _listed(kind: Kind) -> dict[str, Entry]:
    """What is there to be imported: the built-ins, by their source, then entry points, by their metadata."""
    listed: dict[str, Entry] = {}
    home = _HOMES[kind]
    offers = [entry for file, module in _modules(home) for entry in _decorated(file, module, kind)]
    for point in entry_points(group=home):
        place = f"entry point {point.value}" + (f" of {point.dist.name}" if point.dist else "")
        offers.append(Entry(point.name, place, "", f"({place})", point))
    for entry in offers:
        other = listed.setdefault(entry.name, entry)
        if other.place != entry.place:
            raise _twice(kind, other, entry)
    return listed


def _modules(home: str) -> list[tuple[Path, str]]:
    """The files of a package, or the one of a module, each with the name by which it is imported."""
    spec = importlib.util.find_spec(home)
    if spec is None:
        return []
    if spec.submodule_search_locations is None:
        return [(Path(str(spec.origin)), home)]
    folders = [Path(place) for place in spec.submodule_search_locations]
    files = [file for folder in folders for file in sorted([*folder.glob("*.py"), *folder.glob("*/__init__.py")])]
    return [(file, f"{home}.{file.parent.name if file.name == '__init__.py' else file.stem}") for file in files]


def _decorated(file: Path, module: str, kind: Kind) -> Iterator[Entry]:
    """The entry of every class in a file that a registering decorator with a literal name marks."""
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    calls = [(node, call) for node in classes for call in node.decorator_list if isinstance(call, ast.Call)]
    for node, call in calls:
        if getattr(call.func, "id", getattr(call.func, "attr", None)) == f"register_{kind}" and call.args:
            name, place = str(ast.literal_eval(call.args[0])), f"{_short(file)}:{node.lineno}"
            summary = _first_line(ast.get_docstring(node))
            yield Entry(name, place, f"{file.resolve()}:{node.lineno}", summary, module)


def _place(cls: type) -> tuple[str, str]:
    """Where a class stands, at the line of `class …` (inspect gives the decorator's): for messages, and in full."""
    if stands := vars(cls).get("place"):  # a task that was read from a file of its own
        return _short(Path(stands)), str(Path(stands).resolve())
    try:
        file, (lines, first) = Path(inspect.getfile(cls)), inspect.getsourcelines(cls)
    except (OSError, TypeError):
        return f"module {cls.__module__}", f"module {cls.__module__}:{cls.__qualname__}"
    line = first + next((number for number, text in enumerate(lines) if text.lstrip().startswith("class ")), 0)
    return f"{_short(file)}:{line}", f"{file.resolve()}:{line}"


def _short(file: Path) -> str:
    """The end of a path that tells files apart: folder/file.py (no path of this machine in messages)."""
    parts = file.parts[-3:] if file.name == "__init__.py" else file.parts[-2:]
    return "/".join(parts)


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().split("\n")[0]
