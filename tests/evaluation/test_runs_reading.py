"""What is read of a run's folder, and what is said of its course."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pictor.core.errors import InputError
from pictor.evaluation.runs.charts import Curve, chart
from pictor.evaluation.runs.compare import differences, final_figures
from pictor.evaluation.runs.figures import best, headline, lower_is_better, progress, span, thousands
from pictor.evaluation.runs.look import pictures
from pictor.evaluation.runs.reading import find_runs, read_run
from pictor.evaluation.runs.run_page import run_page
from pictor.evaluation.runs.trace import parts, smooth
from pictor.training.lock import held

RECIPE = {"name": "fit", "samples": 1000, "batch_size": 10, "objective": {"kind": "line"}}


def make(folder: Path, log: list[dict[str, Any]], *, recipe: dict[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(json.dumps(recipe or RECIPE))
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    old = time.time() - 7200
    os.utime(folder / "recipe.json", (old, old))
    os.utime(folder / "log.jsonl", (old, old))
    return folder


def point(samples: int, loss: float, **more: Any) -> dict[str, Any]:
    return {
        "samples": samples,
        "step": samples // 10,
        "loss": loss,
        "rate": 0.1,
        "samples_per_second": 5.0,
    } | more


def test_states_are_told_by_length_lock_and_age(tmp_path: Path) -> None:
    stopped = make(tmp_path / "stopped", [point(400, 1.0)])
    assert progress(read_run(stopped)) == "interrupted at 400 of 1k"
    done = make(tmp_path / "done", [point(1000, 1.0)])
    assert progress(read_run(done)) == "finished"
    with held(stopped):
        assert read_run(stopped).state == "running"
    (stopped / "log.jsonl").touch()
    assert read_run(stopped).state == "interrupted"  # the lock knows better than the clock
    (done / "log.jsonl").write_text(json.dumps(point(10, 1.0)) + "\n")
    assert read_run(done).state == "running"  # no lock, and a line of a moment ago
    fits = make(tmp_path / "fits", [point(400, 1.0)], recipe=RECIPE | {"fit_minutes": 1.0})
    assert progress(read_run(fits)) == "ended at 400"
    (fits / "checkpoints" / "000000000400").mkdir(parents=True)
    (fits / "checkpoints" / "000000000400" / "record.json").write_text('{"fitted_samples": 400}')
    assert progress(read_run(fits)) == "finished"


def test_calls_tell_why_a_run_ended_and_how_long_it_was_to_be(tmp_path: Path) -> None:
    run = make(tmp_path / "run", [point(400, 1.0)], recipe=RECIPE | {"fit_minutes": 1.0})
    begun = {"started": "2026-01-01T10:00:00+00:00", "run": "x", "cpu": "some", "cores": 2}
    ended = {"ended": "2026-01-01T10:01:40+00:00", "ended_by": "stop", "samples": 400, "of": 800}
    (run / ".lock").touch()
    (run / "calls.jsonl").write_text(json.dumps(begun) + "\n" + json.dumps(ended) + "\n")
    found = read_run(run)
    assert (found.state, found.reason, found.planned) == ("interrupted", "stopped", 800)
    (run / "calls.jsonl").write_text("\n".join(map(json.dumps, (begun, ended, begun))) + "\n")
    assert read_run(run).reason == "killed"
    assert "some, 2 cores" in run_page(read_run(run))


def test_damaged_lines_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    run = make(tmp_path / "run", [point(100, 2.0)])
    with (run / "log.jsonl").open("a") as log:
        log.write('{"samples": 1\n\n[1]\n' + json.dumps(point(200, float("nan"))) + "\n")
        log.write(json.dumps(point(300, 1.0)) + "\n" + '{"samples": 310, "lo')
    found = read_run(run)
    assert [one.samples for one in found.points] == [100, 300]
    assert [problem.split(" and ")[0] for problem in found.problems] == [
        "line 2 of log.jsonl is damaged",
        "line 3 of log.jsonl is empty",
        "line 4 of log.jsonl is damaged",
        "line 5 of log.jsonl has no loss that is a number",
        "line 7 of log.jsonl is damaged",
    ]
    (run / "recipe.json").write_text("nothing")
    assert read_run(run).kind == "?"
    assert "recipe.json is damaged" in read_run(run).problems


def test_what_a_killed_run_told_twice_counts_once(tmp_path: Path) -> None:
    told = [point(100, 3.0), point(200, 2.0), point(300, 9.0), point(200, 2.0), point(300, 1.0)]
    found = read_run(make(tmp_path / "run", told))
    assert [(one.samples, one.loss) for one in found.points] == [(100, 3.0), (200, 2.0), (300, 1.0)]


def test_speed_is_that_between_two_lines(tmp_path: Path) -> None:
    told = [point(100, 1.0, seconds=10.0), point(200, 1.0, seconds=15.0), point(300, 1.0, seconds=35.0)]
    found = read_run(make(tmp_path / "run", told))
    assert [one.speed for one in found.points] == [5.0, 20.0, 5.0]
    assert found.seconds == 35.0


def test_folders_without_runs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="is not the folder of a run"):
        read_run(tmp_path / "other")
    with pytest.raises(InputError, match="there is no run"):
        read_run(tmp_path / "missing")
    make(tmp_path / "below" / "a", [])
    make(tmp_path / "b", [point(10, 1.0)])
    assert [place.name for place in find_runs(tmp_path)] == ["b", "a"]
    assert read_run(tmp_path / "below" / "a").samples == 0


def course(losses: np.ndarray, folder: Path) -> list[str]:
    told = [point(1000 * (i + 1) // len(losses), float(loss)) for i, loss in enumerate(losses)]
    return [part.observation for part in parts(read_run(make(folder, told)))]


def test_observations_are_true(tmp_path: Path) -> None:
    """Curves whose course is known: tenths that fall by 10%, rise by 10%, or only scatter."""
    noise = np.random.default_rng(0).normal(0, 0.01, 500)
    steps = np.repeat(np.arange(10), 50)
    falling = course(0.9**steps * (1 + noise), tmp_path / "falling")
    rising = course(1.1**steps * (1 + noise), tmp_path / "rising")
    flat = course(1 + noise, tmp_path / "flat")
    assert len(falling) == len(rising) == 10
    assert all(text.startswith(("falling 10%", "falling 9.", "falling 11%")) for text in falling[1:])
    assert all(text.startswith(("rising 10%", "rising 9.", "rising 11%")) for text in rising[1:])
    assert sum(text.startswith("flat") for text in flat[1:]) >= 7  # each errs in one of twenty


def test_a_tenth_tells_of_rate_and_speed(tmp_path: Path) -> None:
    told = [point(50 * i, 1.0, rate=0.1 if i < 11 else 0.05, seconds=10.0 * i) for i in range(1, 19)]
    told += [point(50 * i, 1.0, rate=0.0, seconds=180.0 + 40.0 * (i - 18)) for i in (19, 20)]
    found = parts(read_run(make(tmp_path / "run", told)))
    assert "learning rate falls by 50%" in found[5].observation
    assert "learning rate falls to zero" in found[9].observation
    assert "75% slower than the run's median" in found[9].observation
    assert found[0].observation == "begins at 1"


def test_smoothing_keeps_lines_and_takes_noise_away() -> None:
    noise = np.random.default_rng(0).normal(0, 1, 1000)
    assert smooth(np.full(1000, 3.0)) == pytest.approx(3.0)
    assert smooth(noise).std() < 0.2 * noise.std()
    assert np.array_equal(smooth(noise[:20]), noise[:20])


def test_the_best_validation_knows_its_direction(tmp_path: Path) -> None:
    assert lower_is_better("held_out_mse")
    assert not lower_is_better("psnr_of_mean_error")
    assert headline({"held_out_mse_t0.1": 1.0, "held_out_mse_t0.9": 3.0, "other": 9.0}) == (
        "held_out_mse",
        2.0,
    )
    checks = [
        {"samples": s, "step": 1, "validation": {"psnr": p}}
        for s, p in ((100, 20.0), (200, 30.0), (300, 25.0))
    ]
    assert best(read_run(make(tmp_path / "run", checks))) == ("psnr", 30.0, 200)


def test_validations_during_a_run_are_a_curve_a_time(tmp_path: Path) -> None:
    log = [point(10, 1.0, memory_gb=1.5), point(20, 1.0, memory_gb=2.5)]
    for samples in (10, 20):
        figures = {f"seen_mse_t{time}": 1 / samples + time for time in (0.1, 0.5)}
        log.append({"samples": samples, "step": 1, "validation": figures | {"recall": 0.5}})
    found = read_run(make(tmp_path / "run", log))
    assert found.memory_gb == 2.5
    page = run_page(found)
    assert "2.50 GB" in page
    [errors] = [part for part in page.split("<figure")[1:] if "seen_mse (lower is better)" in part]
    assert errors.count("<polyline") == 2
    for name in ("t0.1", "t0.5"):
        assert f">{name}</span>" in errors
    assert page.count("recall (higher is better)") == 2  # its caption and its label


def test_words_for_numbers() -> None:
    assert [thousands(n) for n in (0, 999, 1000, 273664, 999_999, 1_234_567)] == [
        "0", "999", "1k", "274k", "1M", "1.23M",
    ]  # fmt: skip
    assert [span(s) for s in (5, 90, 3600, 100_000)] == ["5 s", "1 min", "1 h 00 min", "1 d 3 h"]


def test_differences_are_of_what_decides(tmp_path: Path) -> None:
    one = read_run(make(tmp_path / "a", [{"samples": 10, "step": 1, "validation": {"x": 1.0}}]))
    changed = RECIPE | {"batch_size": 20, "preview_minutes": 3, "objective": {"kind": "line", "width": None}}
    other = read_run(make(tmp_path / "b", [], recipe=changed))
    found = {difference.key: difference.values for difference in differences([one, other])}
    assert found == {"batch_size": (10, 20), "objective.width": (None, None)}
    assert final_figures([one, other]) == {"x": [1.0, None]}


def test_a_sheet_is_cut_as_it_was_laid(tmp_path: Path) -> None:
    from pictor.engine.pictures import tile

    run = make(tmp_path / "run", [point(10, 1.0)])
    (run / "previews").mkdir()
    colors = ["red", "green", "blue", "black", "white"]
    sheet = tile([Image.new("RGB", (20, 10), color) for color in colors], 3, gap=2)
    sheet.save(run / "previews" / "000000000010.png")
    facts = {"samples": 10, "prompts": colors, "size": [20, 10]}
    (run / "previews" / "000000000010.json").write_text(json.dumps(facts))
    found = read_run(run)
    for color, image in pictures(found.previews[0]).items():
        assert image.tobytes() == Image.new("RGB", (20, 10), color).tobytes()
    assert run_page(found).count("data:image/webp;base64,") == 5
    (run / "previews" / "000000000010.png").write_bytes(b"no picture")
    assert "data:image" not in run_page(read_run(run))


def test_charts_stay_within_their_frame() -> None:
    x = np.arange(1.0, 5001.0)
    drawn = chart("loss", [Curve(name="a", x=x, y=30 / x + 1.0, kind="line")], end=6000)
    assert drawn.count(",") < 1300
    assert "the first values lie above" in drawn
    assert chart("loss", [Curve(name="a", x=x[:0], y=x[:0])]) == ""
    for values in ([1.0], [2.0, 2.0], [0.0, 0.0], [-1.0, 1.0], [1e-9, 1e3]):
        y = np.array(values)
        assert "nan" not in chart("figure", [Curve(name="a", x=np.arange(len(y)) + 1.0, y=y)])


def test_pages_name_nothing_of_the_net_and_escape_what_they_show(tmp_path: Path) -> None:
    recipe = RECIPE | {"name": "<script>", "objective": {"kind": "<b>line"}}
    run = make(tmp_path / "run", [point(10, 1.0, **{"<i>psnr": 3.0}), point(20, 1.0)], recipe=recipe)
    page = run_page(read_run(run))
    for tag in ("<script>", "<b>line", "<i>psnr", "http://", "https://", "url("):
        assert tag not in page
    assert "&lt;b&gt;line" in page


def test_runs_are_read_without_torch(tmp_path: Path) -> None:
    make(tmp_path / "runs" / "a", [point(10, 1.0), point(500, 0.5)])
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pictor.cli import main\n"
        "sys.exit(main(['runs', 'list']) or main(['runs', 'show', 'runs/a', '--out', 'a.html']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.html").stat().st_size > 5000
