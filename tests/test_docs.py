"""The pages in docs/ name files, commands and options that are there."""

import re
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from pictor.cli._verbs import app

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


def commands():
    for page in [*PAGES, ROOT / "README.md"]:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                found = re.search(r"(?:^|\s)pictor ([a-z][\w-]*)(.*)$", line.split("#")[0])
                if found:
                    yield pytest.param(found[1], found[2], id=f"{page.stem}: {line.strip()[:60]}")


@pytest.mark.parametrize(("verb", "rest"), list(commands()))
def test_commands_and_their_options_are_there(verb, rest):
    group = typer.main.get_command(app)
    command = group.get_command(None, verb)
    assert command is not None, verb
    if isinstance(command, TyperGroup):
        name = rest.split()[0]
        command = command.get_command(None, name)
        assert command is not None, name
    known = {option for parameter in command.params for option in parameter.opts}
    for option in re.findall(r"(?<!\S)(--[a-z][\w-]*)", rest):
        assert option in known, f"{verb} {option}"
