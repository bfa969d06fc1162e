"""What the pages for users hold: blocks, commands, links, and a command line that parses and does not run.

The word after a block's language says what becomes of it:

    ```bash           commands; xlbench's are parsed, with every field of the run, and not run
    ```bash run       xlbench commands, run in turn in a folder of the page's own
    ```bash run 2     the same, and this exit code is the right one
    ```text shown     lines that stand in this order in what the commands before printed; … is anything
    ```python run     executed in the page's folder, names kept from block to block
    ```toml FILE      (any language) written to FILE in the page's folder; python in a file is run by a command
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from xlbench import registry
from xlbench.cli import app
from xlbench.spec import Runtime, Suite

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    + [page for folder in ("tutorials", "how-to", "explanation") for page in (ROOT / "docs" / folder).glob("*.md")]
)
BLOCK = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)(?: \"([^\"]*)\")?\)")
OTHER_COMMANDS = {"make", "pip", "python", "export", "cd", "ray", "git", "nvidia-cuda-mps-control", "sbatch"}
GROUP: Any = typer.main.get_command(app)
OPTIONS = {
    name: {option for parameter in command.params for option in (*parameter.opts, "--help", "-h")}
    for name, command in GROUP.commands.items()
}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the words after it, its text."""

    language: str
    words: tuple[str, ...]
    text: str

    @property
    def file(self) -> str | None:
        """The file that it is, or None."""
        return self.words[0] if len(self.words) == 1 and "." in self.words[0] else None

    def commands(self) -> list[list[str]]:
        """Its commands as words: comments left out, lines that end with a backslash joined."""
        joined = self.text.replace("\\\n", " ")
        return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in turn."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [Block(language, tuple(words.split()), text) for language, words, text in found]


def prose(page: Path) -> str:
    """A page without its blocks."""
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def spans(page: Path) -> list[str]:
    """What stands in backticks within a page's text, on one line each."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]


@dataclass(frozen=True)
class Link:
    """A link into the repository: its text, the file, a heading there, and its title."""

    text: str
    file: Path
    anchor: str
    title: str


def links(page: Path) -> Iterator[Link]:
    """The links of a page into the repository."""
    for text, target, title in LINK.findall(prose(page)):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield Link(text, (page.parent / path).resolve() if path else page, anchor, title)


def stands_in(figure: str, title: str, written: str) -> bool:
    """Whether a line holds all numbers of a figure and all parts of the title, which `; ` parts."""
    wanted = [*re.findall(r"-?\d+(?:[.,]\d+)*", figure), *filter(None, title.split("; "))]
    patterns = [re.compile(rf"(?<![\w.]){re.escape(part)}(?![\w.]*\w)") for part in wanted]
    return any(all(pattern.search(line) for pattern in patterns) for line in written.splitlines())


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub writes them."""
    titles = re.findall(r"^#+ (.*)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def wrong_options(span: str) -> list[str]:
    """Options in a piece of a command line that no command, or not the one it names, has."""
    words = [word for word in span.removeprefix("xlbench ").split() if word]
    known = OPTIONS.get(words[0], set().union(*OPTIONS.values()))
    return [word for word in words if re.match(r"--[a-z]", word) and word.split("=")[0].rstrip(",;") not in known]


def lines_are_shown(wanted: str, printed: str) -> bool:
    """Whether each line stands in what was printed, in this order; … within a line is anything."""
    at, seen = 0, [" ".join(line.split()) for line in printed.splitlines()]
    for line in filter(None, (" ".join(line.split()) for line in wanted.splitlines())):
        pattern = ".*".join(map(re.escape, line.split("…")))
        place = next((number for number in range(at, len(seen)) if re.fullmatch(pattern, seen[number])), None)
        if place is None:
            return False
        at = place + 1
    return True


class Follower:
    """Follows a page as a reader would, in the folder that is the working directory."""

    def __init__(self, patches: pytest.MonkeyPatch) -> None:
        self.patches = patches
        self.printed = ""
        self.names: dict[str, Any] = {}

    def follow(self, page: Path) -> None:
        """Run, write or parse each block; AssertionError where one is not what it says."""
        for block in blocks(page):
            if block.file is not None:
                Path(block.file).parent.mkdir(parents=True, exist_ok=True)
                Path(block.file).write_text(block.text, encoding="utf-8")
                for words in block.commands() if block.file.endswith(".sh") else ():
                    self._parse(words)
            elif block.language == "python" and block.words == ("run",):
                exec(compile(block.text, page.name, "exec"), self.names)
            elif block.language == "bash" and block.words[:1] == ("run",):
                code = int(block.words[1]) if len(block.words) > 1 else 0
                self.printed = "".join(self._run(words, code) for words in block.commands())
            elif block.language == "bash" and not block.words:
                for words in block.commands():
                    self._parse(words)
            elif block.language == "text" and block.words == ("shown",):
                assert lines_are_shown(block.text, self.printed), (
                    f"{block.text}\nis not what was printed:\n{self.printed}"
                )
            else:
                assert block.language in {"text", "toml"}, f"what is to become of ```{block.language} {block.words}?"
                assert not block.words, block.words

    def _run(self, words: list[str], code: int) -> str:
        assert words[0] == "xlbench", f"only xlbench is run: {words}"
        ended = CliRunner().invoke(app, [*words[1:], *(["--quiet"] if "--quiet" in OPTIONS[words[1]] else [])])
        assert ended.exit_code == code, f"{shlex.join(words)}\n{ended.output}"
        return str(ended.output)

    def _parse(self, words: list[str]) -> None:
        if words[0] != "xlbench":
            assert words[0] in OTHER_COMMANDS, words
            return
        name, *arguments = [re.sub(r"\$\{?\w+\}?", "1", word) for word in words[1:]]
        assert name in GROUP.commands, f"there is no command {name}"
        if name not in {"run", "compare", "plan"}:
            GROUP.commands[name].make_context(name, arguments)  # raises for a wrong option
            return
        for at, (option, value) in enumerate(pairwise(arguments), start=1):  # files that only the reader has
            if option == "--data-root":
                arguments[at] = "."
            elif option == "--task" and value.endswith(".toml") and not Path(value).exists():
                arguments[at] = "logic"
        with self.patches.context() as patched:
            patched.setattr("xlbench.engine.execute.run", _leave)
            patched.setattr("xlbench.cli.commands._compare", _look_at_suite)
            patched.setattr("xlbench.cli.terminal.show_plan", _look_at_suite)
            ended = CliRunner().invoke(app, [name, *arguments])
        assert ended.exit_code == 0, f"{shlex.join(words)}\n{ended.output}"


def _leave(*_: object) -> None:
    raise typer.Exit(0)


def _look_at_suite(suite: Suite, *_: Runtime | object) -> None:
    """Every cell's spec is made, and its method and task are looked up."""
    for cell in suite.cells():
        registry.find("method", cell.method)
        registry.find("task", cell.task)
    raise typer.Exit(0)
