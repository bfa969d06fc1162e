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
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, TypeVar

from xlbench.errors import XlbenchError, unknown

Kind = Literal["method", "task", "resource"]
Registered = TypeVar("Registered", bound=type)

_HOMES: dict[Kind, str] = {"method": "xlbench.methods", "task": "xlbench.tasks", "resource": "xlbench.resources"}
_DECORATORS: dict[str, Kind] = {f"register_{kind}": kind for kind in _HOMES}


@dataclass(frozen=True)
class Entry:
    """A registered name: where it comes from, what its docstring's first line says, and how to get it."""

    name: str
    place: str  # "methods/mpt.py:12", or "entry point of package 0.1"
    summary: str
    module: str | EntryPoint | None  # what to import; none: loaded already
    origin: str = ""  # the whole path and line, which tells apart what `place` shortens to the same


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
        place, origin = _place(cls)
        taken = _loaded[kind].get(name) or _found(kind).get(name)
        if taken is not None and taken.origin != origin and not _same_class(kind, name, cls):
            first, second = (taken.place, place) if taken.place != place else (taken.origin, origin)
            raise XlbenchError(
                f"the {kind} {name!r} is registered twice: in {first} and in {second}; rename one of them"
            )
        cls.name = name  # type: ignore[attr-defined]
        _classes[kind][name] = cls
        _loaded[kind][name] = Entry(name, place, _first_line(cls.__doc__), None, origin)
        return cls

    return keep


def _same_class(kind: Kind, name: str, cls: type) -> bool:
    """True where an entry point's class arrives: the listing knew the name, the decorator now confirms it."""
    known = _found(kind).get(name)
    if known is None or not isinstance(known.module, EntryPoint):
        return False
    return cls.__module__ == known.module.module or known.module.module.startswith(cls.__module__ + ".")


def names(kind: Kind) -> list[str]:
    """Every registered name of a kind, sorted."""
    return sorted(set(_found(kind)) | set(_loaded[kind]))


def entries(kind: Kind) -> list[Entry]:
    """Every registered name with its place and summary, sorted by name."""
    return [_loaded[kind].get(name) or _found(kind)[name] for name in names(kind)]


def find(kind: Kind, name: str) -> Entry:
    """The entry of a name, nothing imported. Raises XlbenchError for an unknown one."""
    entry = _loaded[kind].get(name) or _found(kind).get(name)
    if entry is None:
        raise unknown(kind, name, names(kind))
    return entry


def get(kind: Kind, name: str) -> type:
    """The class registered as `name`, imported now if need be.

    Raises XlbenchError for an unknown name (with a near miss and the list), and for a plug-in that fails to
    import or does not register the name that it promised.
    """
    if name not in _classes[kind]:
        found = find(kind, name)
        try:
            if isinstance(found.module, EntryPoint):
                found.module.load()
            elif found.module is not None:
                importlib.import_module(found.module)
        except XlbenchError:
            raise
        except Exception as fault:
            raise XlbenchError(
                f"the {kind} {name!r} ({found.place}) does not import: {type(fault).__name__}: {fault}"
            ) from fault
        if name not in _classes[kind]:
            raise XlbenchError(f"{found.place} promises the {kind} {name!r} but does not register it")
    return _classes[kind][name]


def load_plugins(plugins: Iterable[str]) -> None:
    """`load_plugin` of each, in their order."""
    for plugin in plugins:
        load_plugin(plugin)


def load_plugin(plugin: str) -> None:
    """Import a plug-in file (`my_method.py`) or module (`my_package.methods`), which registers its classes.

    Loading the same plug-in again does nothing. Raises XlbenchError where it is missing, does not import, or
    registers nothing.
    """
    path = Path(plugin)
    is_file = plugin.endswith(".py") or os.path.isfile(path)
    key = str(path.resolve()) if is_file else plugin
    if key in _plugins:
        return
    before = {kind: dict(_classes[kind]) for kind in _classes}
    try:
        if is_file:
            if not os.path.isfile(path):
                raise XlbenchError(f"the plug-in file {plugin} does not exist")
            _import_file(path)
        else:
            if "" not in sys.path and str(Path.cwd()) not in sys.path:
                sys.path.append(str(Path.cwd()))
            importlib.import_module(plugin)
    except XlbenchError:
        raise
    except BaseException as fault:  # a plug-in may even call sys.exit; the sentence must still come
        if isinstance(fault, KeyboardInterrupt):
            raise
        line = _line_in(fault, path) if is_file else ""
        raise XlbenchError(f"the plug-in {plugin} does not import{line}: {type(fault).__name__}: {fault}") from fault
    registered = [cls for kind in _classes for name, cls in _classes[kind].items() if before[kind].get(name) is not cls]
    imported_before = any(_stands_in(cls, plugin) for kind in _classes for cls in _classes[kind].values())
    if not registered and not imported_before:
        raise XlbenchError(
            f"the plug-in {plugin} registers nothing; decorate a class with @register_method, @register_task or "
            "@register_resource"
        )
    _plugins[key] = plugin


def _stands_in(cls: type, module: str) -> bool:
    return cls.__module__ == module or cls.__module__.startswith(f"{module}.")


def files_of(cls: type) -> list[Path]:
    """The files that define a plug-in's class: the one that it stands in, or its folder's.

    Their code enters the hash of a run, so that a record never outlives the code it was made with unnoticed.
    """
    file = Path(inspect.getfile(cls))
    if file.name != "__init__.py":
        return [file]
    return sorted(path for path in file.parent.rglob("*") if path.suffix in {".py", ".tsv"})


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
    line, trace = "", fault.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).resolve() == path.resolve():
            line = f" (line {trace.tb_lineno})"
        trace = trace.tb_next
    return line


@cache
def _found(kind: Kind) -> dict[str, Entry]:
    """What is there to be imported: the built-ins, by their source, then entry points, by their metadata."""
    found: dict[str, Entry] = {}
    home = _HOMES[kind]
    for file, module in _modules(home):
        for name, line, summary in _decorated(file, kind):
            place = f"{_short(file)}:{line}"
            if name in found:
                raise XlbenchError(
                    f"the {kind} {name!r} is registered twice: in {found[name].place} and in {place}; "
                    "rename one of them"
                )
            found[name] = Entry(name, place, summary, module, f"{file.resolve()}:{line}")
    for point in entry_points(group=home):
        place = f"entry point {point.value}" + (f" of {point.dist.name}" if point.dist else "")
        taken = found.get(point.name)
        if taken is not None:
            if taken.place == place:
                continue
            raise XlbenchError(
                f"the {kind} {point.name!r} is registered twice: in {taken.place} and in {place}; rename one of them"
            )
        found[point.name] = Entry(point.name, place, f"({place})", point)
    return found


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


def _decorated(file: Path, kind: Kind) -> list[tuple[str, int, str]]:
    """(name, line, summary) of every class in a file that a registering decorator with a literal name marks."""
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    found = []
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        for call in node.decorator_list:
            function = call.func if isinstance(call, ast.Call) else None
            called = getattr(function, "id", getattr(function, "attr", None))
            if isinstance(call, ast.Call) and _DECORATORS.get(str(called)) == kind and call.args:
                name: Any = ast.literal_eval(call.args[0])
                found.append((str(name), node.lineno, _first_line(ast.get_docstring(node))))
    return found


def _place(cls: type) -> tuple[str, str]:
    """Where a class stands: as messages name it, and by its whole path."""
    try:
        file, line = Path(inspect.getfile(cls)), _class_line(cls)
        return f"{_short(file)}:{line}", f"{file.resolve()}:{line}"
    except (OSError, TypeError):
        return f"module {cls.__module__}", f"module {cls.__module__}:{cls.__qualname__}"


def _class_line(cls: type) -> int:
    """The line of `class …` itself (inspect gives the decorator's), as `_decorated` counts it."""
    lines, first = inspect.getsourcelines(cls)
    return first + next((i for i, line in enumerate(lines) if line.lstrip().startswith("class ")), 0)


def _short(file: Path) -> str:
    """The end of a path that tells files apart: folder/file.py (no path of this machine in messages)."""
    parts = file.parts[-3:] if file.name == "__init__.py" else file.parts[-2:]
    return "/".join(parts)


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().split("\n")[0]
