"""The generated pages are those that the code gives, and the site of docs/ builds without a warning."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("reference_pages", ROOT / "scripts" / "reference_pages.py")
assert spec is not None
assert spec.loader is not None
written = importlib.util.module_from_spec(spec)
spec.loader.exec_module(written)
PAGES = written.pages()
AGAIN = "run python scripts/reference_pages.py"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_gives(name):
    assert (ROOT / name).read_text(encoding="utf-8") == PAGES[name], AGAIN


def test_no_other_page_stands_beside_them():
    assert {f"docs/reference/{page.name}" for page in (ROOT / "docs" / "reference").iterdir()} == set(PAGES)


def test_llms_txt_names_every_page():
    text = (ROOT / "llms.txt").read_text(encoding="utf-8")
    assert text == "\n".join(written.llms()), AGAIN
    pages = [str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md") if page.name != "index.md"]
    assert [page for page in pages if f"({page})" not in text] == []


def test_every_option_of_every_command_is_there():
    for command in written.typer.main.get_command(written.app).commands.values():
        for option in command.params:
            if option.param_type_name == "option" and option.name != "help":
                assert all(f"`{name}`" in PAGES["docs/reference/commands.md"] for name in option.opts)


def test_a_default_stands_in_its_own_column():
    page = PAGES["docs/reference/commands.md"]
    assert "[default" not in page
    assert "| `--task` | registered task; see `xlbench list tasks` | `xnli` |" in page


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_every_page_is_in_it(tmp_path):
    pytest.importorskip("sphinx", reason="Sphinx is not installed: the extra docs")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "--fail-on-warning", "-b", "html", ROOT / "docs", tmp_path / "site"],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for page in (ROOT / "docs").rglob("*.md"):
        assert (tmp_path / "site" / page.relative_to(ROOT / "docs")).with_suffix(".html").is_file()
