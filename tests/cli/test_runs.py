"""`pictor runs`: tables, pages, and what is refused."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from pictor.cli import main

DOCS = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


@pytest.fixture
def trained(room: Path) -> Path:
    """Two runs of one kind and one of another."""
    for name, kind, rate, losses in (
        ("first", "rectified_flow", 0.1, (2.0, 1.0)),
        ("second", "rectified_flow", 0.2, (2.0, 0.5)),
        ("words", "contrastive", 0.2, (9.0, 8.0)),
    ):
        run = room / "runs" / name
        run.mkdir(parents=True)
        recipe = {
            "name": name,
            "samples": 200,
            "optimiser": {"learning_rate": rate},
            "objective": {"kind": kind},
        }
        (run / "recipe.json").write_text(json.dumps(recipe))
        lines: list[dict[str, object]] = [
            {"samples": 100 * (i + 1), "step": i + 1, "loss": loss, "rate": rate, "samples_per_second": 50.0}
            for i, loss in enumerate(losses)
        ]
        lines.append({"samples": 200, "step": 2, "validation": {"held_out_mse": losses[-1] / 2}})
        (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (run / ".lock").touch()
    return room


def test_list(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "list"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["run", "kind", "state", "samples"]
    assert rows[1].split()[:7] == [
        "second",
        "rectified_flow",
        "finished",
        "200",
        "0.5",
        "0.25",
        "held_out_mse",
    ]
    assert main(["runs", "list", "runs", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(run["name"], run["state"], run["of"]) for run in found] == [
        ("first", "finished", 200), ("second", "finished", 200), ("words", "finished", 200),
    ]  # fmt: skip


def test_show(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (trained / "runs" / "first" / "log.jsonl").open("a") as log:
        log.write("{broken\n")
    assert main(["runs", "show", "runs/first", "--out", "page.html"]) == 0
    out, err = capsys.readouterr()
    assert "first: rectified_flow, finished" in out
    assert "falling 50%, by few lines" in out
    assert "problem: line 4 of log.jsonl is damaged" in out
    assert err == "wrote page.html\n"
    page = (trained / "page.html").read_text()
    assert "line 4 of log.jsonl is damaged" in page
    assert "optimiser.learning_rate" in page
    assert main(["runs", "show", "runs/first", "--json"]) == 0
    assert [part["loss"] for part in json.loads(capsys.readouterr().out)["parts"]] == [2.0, 1.0]


def test_compare(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "compare", "runs/first", "runs/second", "--out", "page.html"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"held_out_mse +0.5 +0.25", out)
    assert re.search(r"optimiser.learning_rate +0.1 +0.2", out)
    assert "cannot be compared" not in out
    page = (trained / "page.html").read_text()
    assert page.count("aria-label='Loss'") == 1
    assert "<b>0.25</b>" in page
    assert main(["runs", "compare", "runs/first", "runs/words", "--out", "page.html"]) == 0
    assert "losses cannot be compared" in capsys.readouterr().out
    page = (trained / "page.html").read_text()
    assert "aria-label='Loss'" not in page
    assert "aria-label='Learning rate'" in page


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["list", "nowhere"], "there is no folder nowhere"),
        (["show", "nowhere"], "there is no run nowhere"),
        (["show", "runs"], "runs is not the folder of a run"),
        (["show", "runs/first", "--out", "page.png"], "pages are HTML files"),
        (["show", "runs/first", "--out", "no/page.html"], "there is no folder no"),
        (["compare", "runs/first"], "one run is given"),
        (["compare", "runs/first", "./runs/first"], "a run is given twice"),
        (["compare", "runs/first", "nowhere"], "there is no run nowhere"),
    ],
)
def test_bad_input(
    trained: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(["runs", *arguments]) == 2
    out, err = capsys.readouterr()
    assert says in err
    assert err.count("\n") == 1
    assert not out


def test_the_commands_of_the_documentation_run(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    block = DOCS.split("## Watching runs")[1].split("```sh\n")[1].split("```")[0]
    commands = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert len(commands) >= 3
    for command in commands:
        assert command[:2] == ["pictor", "runs"]
        assert main(command[1:]) == 0, command
    capsys.readouterr()
    assert (trained / "run.html").is_file()
