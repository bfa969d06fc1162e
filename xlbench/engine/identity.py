"""What a record's id covers: everything that can change a number, and nothing that cannot."""

import ast
from collections.abc import Sequence
from typing import Any

from xlbench import registry
from xlbench.spec import digest_of_list
from xlbench.task import Row

PROTOCOL = "2"  # raised when a change in the harness, or in a default of a spec, changes numbers
SAYS_NOTHING = {"search", "citation", "license"}  # class variables that change no run, or are hashed apart


def content(rows: Sequence[Row]) -> str:
    """A digest of rows: ids, texts, answers, units, choices."""
    return digest_of_list((row.id, row.texts, row.gold, row.unit, row.choices) for row in rows)


def code_of(plugin: type) -> str:
    """The code of the files that define a plug-in, without what cannot change a number: comments, docstrings, layout,
    descriptions of settings, citations, and the search space, which is hashed where it is searched."""
    parts = []
    for file in registry.files_of(plugin):
        text = file.read_text(encoding="utf-8")
        parts.append(bare(text) if file.suffix == ".py" else text)
    return "\n".join(parts)


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
