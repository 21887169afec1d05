"""What the documentation says can be done: commands parse, links lead somewhere, names exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

import adapter_stilts
from adapter_stilts.cli import whole_command
from adapter_stilts.heads import KINDS, get_head
from docs_kit import BLOCK, commands

ROOT = Path(__file__).parents[2]
GUIDE = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *GUIDE]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def parse(words: list[str]) -> None:
    """Parses a command without running it; raises what a user would be told."""
    command: Any = whole_command()
    context = None
    while isinstance(command, click.Group) or hasattr(command, "commands"):
        context = command.make_context(command.name, list(words), parent=context)
        words = [*context._protected_args, *context.args]
        _, command, words = command.resolve_command(context, words)
    command.make_context(command.name, list(words), parent=context)


@each_page
def test_commands_parse(page: Path) -> None:
    for words in commands(page):
        try:
            parse(words)
        except Exception as error:
            pytest.fail(f"{page.name}: adstilts {shlex.join(words)}: {error!r}")


def test_a_wrong_command_would_be_found() -> None:
    with pytest.raises(Exception, match="no-such-option"):
        parse(["train-adapter", "squad", "--no-such-option"])
    with pytest.raises(Exception, match="no-such-command"):
        parse(["no-such-command"])


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text("utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"https?:|#|mailto:", target):
            assert (page.parent / target.split("#")[0]).exists(), target


def test_no_two_files_become_one_page_of_the_site() -> None:
    """`name.md` is made `name.html`, so that another `name.html` would be lost without a word."""
    made = {page.with_suffix(".html") for page in (ROOT / "docs").rglob("*.md")}
    assert [path for path in sorted(made) if path.exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text("utf-8"))
    docs = ROOT / "docs"
    assert sorted(listed) == sorted(str(each.relative_to(docs)) for each in docs.rglob("*.md"))


def test_readme_is_short_and_names_no_home() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 150
    assert text.index("download.pytorch.org/whl/cpu") < text.index("make demo")
    for path in (ROOT / "pyproject.toml", ROOT / "CITATION.cff", *PAGES):
        assert "github.com/adapter-stilts" not in path.read_text("utf-8"), path


def test_the_reference_has_every_public_name() -> None:
    listed = re.findall(r"^::: .*\.(\w+)$", (ROOT / "docs/api.md").read_text("utf-8"), re.MULTILINE)
    assert set(adapter_stilts.__all__) <= set(listed)


def test_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert cited["version"] == adapter_stilts.__version__
    assert cited["license"] == "Apache-2.0"
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"## {adapter_stilts.__version__}" in changes


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_of_heads_is_true(kind: str) -> None:
    head, text = get_head(kind), (ROOT / "docs/own_data.md").read_text("utf-8")
    row = next(line for line in text.splitlines() if line.startswith(f"| `{kind}` |"))
    needed, optional, metrics = (re.findall(r"`(\w+)`", cell) for cell in row.split("|")[2:5])
    assert (needed, optional) == (list(head.parts), list(head.optional_parts))
    assert metrics == list(head.metrics)
