"""The command line: results on stdout, the rest on stderr, exit codes, and nothing half-written."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin
from rooms import names

import pictor
from pictor.cli import main


def test_generate_prints_the_path(run, room):
    code, out, err = run("generate", "A red apple!", "--seed", 3, "--steps", 2)
    assert (code, out, err) == (0, "a-red-apple-3.png\n", "")
    assert names(room) == ["a-red-apple-3.png"]


def test_nothing_is_overwritten_unasked(run, room):
    for expected in ("a-0.png", "a-0-2.png", "a-0-3.png"):
        assert run("generate", "a", "--steps", 1)[1] == expected + "\n"
    assert (room / "a-0.png").read_bytes() == (room / "a-0-3.png").read_bytes()


def test_out_file_is_overwritten(run, room):
    (room / "x.png").write_text("old")
    assert run("generate", "a", "--steps", 1, "--out", "x.png")[:2] == (0, "x.png\n")
    with Image.open(room / "x.png") as image:
        assert image.size == (64, 64)
    assert run("generate", "a", "--steps", 1, "--count", 2, "--out", "x.png")[1] == "x-0.png\nx-1.png\n"


def test_out_folder(run, room):
    (room / "there").mkdir()
    assert run("generate", "苹果", "--steps", 1, "--out", "there")[1] == f"there{os.sep}苹果-0.png\n"
    assert run("generate", "🍎", "--steps", 1, "--out", "made/new")[0] == 0
    assert names(room) == ["made", "made/new", "made/new/generate-0.png", "there", "there/苹果-0.png"]


def test_grid_frames_and_json(run, room):
    code, out, _ = run("generate", "a", "--steps", 2, "--count", 2, "--grid", "--frames", "--json")
    assert code == 0
    told = json.loads(out)
    assert [(file["path"], file["kind"], file["seed"]) for file in told["files"]] == [
        ("a-0-grid.png", "sheet", 0),
        ("a-0-frames.png", "strip", 0),
        ("a-0-frames.gif", "film", 0),
        ("a-1-frames.png", "strip", 1),
        ("a-1-frames.gif", "film", 1),
    ]
    assert told["recipe"]["prompt"] == "a"
    assert names(room) == sorted(file["path"] for file in told["files"])
    with Image.open("a-1-frames.png") as strip, Image.open("a-1-frames.gif") as film:
        assert (strip.size, film.n_frames) == ((128, 64), 2)
    for name in ("a-0-grid.png", "a-1-frames.png"):
        assert run("reproduce", name)[:2] == (0, "identical\n")


def test_options_reach_the_recipe(run, room):
    code, out, _ = run(
        *("generate", "a", "--negative", "b", "--seed", 2**64 - 1, "--steps", 3, "--guidance", 1.5),
        *("--solver", "heun", "--spacing", "karras", "--size", "32x64", "--backend", "onnx", "--json"),
    )
    assert code == 0
    recipe = json.loads(out)["recipe"]
    expected = {
        "negative_prompt": "b",
        "seed": 2**64 - 1,
        "num_steps": 3,
        "guidance_scale": 1.5,
        "solver": "heun",
        "spacing": "karras",
        "width": 32,
        "height": 64,
        "backend": "onnx",
    }
    assert {key: recipe[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["generate"], "PROMPT|prompt"),
        (["generate", ""], "empty"),
        (["generate", "  "], "empty"),
        (["generate", "a\udcff"], "Unicode"),
        (["generate", "a", "--solver", "magic"], "euler"),
        (["generate", "a", "--spacing", "magic"], "karras"),
        (["generate", "a", "--backend", "magic"], "onnx"),
        (["generate", "a", "--size", "64"], "64x64"),
        (["generate", "a", "--size", "70x64"], "multiple of 16"),
        (["generate", "a", "--size", "64x9600"], "to 256"),
        (["generate", "a", "--size", "-64x64"], "width -64"),
        (["generate", "a", "--steps", "0"], "num_steps is 0"),
        (["generate", "a", "--steps", "-4"], "num_steps is -4"),
        (["generate", "a", "--steps", "many"], "many"),
        (["generate", "a", "--guidance", "nan"], "guidance_scale is nan"),
        (["generate", "a", "--guidance", "-1"], "guidance_scale is -1"),
        (["generate", "a", "--count", "0"], "count is 0"),
        (["generate", "a", "--seed", "-1"], "seed"),
        (["generate", "a", "--seed", str(2**64)], "seed"),
        (["generate", "a", "--seed", str(2**64 - 1), "--count", "2"], "room for 2"),
        (["generate", "a", "--out", "x.jpg"], "PNG"),
        (["generate", "a", "--out", "missing/x.png"], "no folder missing"),
        (["generate", "a", "--brush", "oil"], "--brush"),
        (["paint", "a"], "paint"),
        (["show", "missing.png"], "no file"),
        (["reproduce", "missing.png"], "no file"),
    ],
)
def test_bad_input(run, room, arguments, says):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"error: .*\n", err)
    assert re.search(says, err)
    assert names(room) == []


def test_out_below_a_file(run, room):
    (room / "file").write_text("")
    for out in ("file/x.png", "file", "file/new/folder"):
        code, _, err = run("generate", "a", "--out", out)
        assert (code, err.count("\n")) == (2, 1)
    assert names(room) == ["file"]


@pytest.mark.skipif(sys.platform != "linux", reason="a folder that refuses even the superuser")
def test_out_that_the_system_refuses(run, room):
    code, _, err = run("generate", "a", "--out", "/proc/self/x.png")
    assert (code, err.count("\n")) == (2, 1)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write")
def test_out_without_permission(run, room):
    room.chmod(0o500)
    assert run("generate", "a")[0] == 2
    room.chmod(0o700)
    assert names(room) == []


def test_a_long_prompt_is_cut_with_a_warning(run, room):
    code, out, err = run("generate", "a red cat " * 200, "--steps", 1)
    assert code == 0
    assert len(out.splitlines()) == 1
    assert err.startswith("warning: the prompt is longer than 8 times 32 tokens; this was cut: 'a red cat")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model_index.json", None),
        ("unet/config.json", b"{"),
        ("unet/model.onnx", b"nonsense"),
        ("text_encoder/model.onnx", b""),
        ("unet/diffusion_pytorch_model.safetensors", None),
        ("vae/diffusion_pytorch_model.safetensors", b"\x10"),
        ("tokenizer/tokenizer.json", b"{}"),
        ("scheduler/scheduler_config.json", None),
    ],
)
def test_damaged_models(run, room, tiny_copy, name, damage):
    if damage is None:
        (tiny_copy / name).unlink()
    else:
        (tiny_copy / name).write_bytes(damage)
    code, out, err = run("generate", "a", "--steps", 1, "--backend", "onnx", model=tiny_copy)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"error: .*\n", err)
    assert str(tiny_copy / name.split("/")[0]) in err
    assert names(room) == []


def test_a_missing_model(run, room):
    code, _, err = run("generate", "a", model=room / "nowhere")
    assert (code, "nowhere" in err) == (2, True)


def test_a_run_that_has_not_ended(run, room):
    (room / "started").mkdir()
    (room / "started" / "recipe.json").write_text("{}")
    code, _, err = run("generate", "a", model=room / "started")
    assert (code, "--resume" in err) == (2, True)


def test_solvers(run):
    code, out, _ = run("solvers")
    assert code == 0
    for name in ("euler", "dpmpp_2m", "unipc", "karras", "align_your_steps"):
        assert f"  {name}" in out
    assert set(json.loads(run("solvers", "--json")[1])) == {"solvers", "spacings"}


def test_help_and_version(run):
    assert run("--version") == (0, f"pictor {pictor.__version__}\n", "")
    for arguments in ([], ["--help"]):
        code, out, _ = run(*arguments) if arguments else run("--help")
        assert code == 0
        for verb in ("generate", "reproduce", "show", "solvers"):
            assert verb in out
    assert main([]) == 0
    code, out, _ = run("generate", "--help", model=None)
    assert code == 0
    assert "--guidance" in out
    assert "completion" not in out


def test_a_traceback_only_with_debug(run, room):
    assert "Traceback" not in run("generate", "")[2]
    for arguments in (["--debug", "generate", ""], ["generate", "--debug", ""], ["generate", "", "--debug"]):
        code, _, err = run(*arguments, "--steps", 1)
        assert code == 2
        assert "Traceback" in err
        assert err.splitlines()[-1].startswith("error: ")


def test_debug_may_be_a_prompt(run, room):
    assert main(["generate", "--steps", "1", "--model", "nowhere", "--", "--debug"]) == 2


def test_a_defect_is_one_line_and_exit_1(run, room, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("a defect\nin two lines")

    monkeypatch.setattr("pictor.engine.studio.execute", broken)
    code, out, err = run("generate", "a", "--steps", 1)
    assert (code, out) == (1, "")
    assert re.fullmatch(r"error: RuntimeError: a defect in two lines .*--debug.*\n", err)
    assert names(room) == []


def test_interrupted_while_writing(run, room, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pictor.engine.files.os.link", interrupted)
    code, out, err = run("generate", "a", "--steps", 1)
    assert (code, out, err) == (130, "", "interrupted\n")
    assert names(room) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_ctrl_c_on_a_terminal(room, vivid_folder):
    # The line of progress tells when the work is under way, and is shown on terminals only.
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "pictor",
        "generate",
        "a",
        "--steps",
        "1000",
        "--model",
        str(vivid_folder),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, cwd=room)
    os.close(theirs)
    # Somebody has to go on reading, or the terminal fills up and the command waits for it.
    seen = bytearray()
    under_way = threading.Event()

    def read() -> None:
        with suppress(OSError):  # the terminal's end, once the command has gone
            while data := os.read(ours, 1024):
                seen.extend(data)
                if b"/1000" in seen:
                    under_way.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert under_way.wait(60)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    reader.join(60)
    os.close(ours)
    assert (process.returncode, out) == (130, b"")
    assert seen.rstrip().endswith(b"interrupted")
    assert b"Traceback" not in seen
    assert names(room) == []


def test_as_a_module_and_offline(room, vivid_folder):
    """`python -m pictor` in a process of its own, warnings as errors, without what the base install lacks."""
    code = (
        "import sys, socket, runpy\n"
        "for name in ('torch', 'diffusers', 'transformers'): sys.modules[name] = None\n"
        "def refuse(*_): raise OSError('no network')\n"
        "socket.socket.connect = refuse\n"
        "runpy.run_module('pictor', run_name='__main__')\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, "generate", "a", "--steps", "1", "--model"]
    done = subprocess.run(
        [*command, str(vivid_folder)], cwd=room, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "a-0.png\n", "")


def test_starting_is_cheap(room, vivid_folder):
    """What costs time and is not needed is not imported."""
    code = (
        "import sys\n"
        "from pictor.cli import main\n"
        f"assert main(['generate', 'a', '--steps', '1', '--model', {str(vivid_folder)!r}]) == 0\n"
        "print([m for m in ('pydantic', 'rich', 'torch', 'transformers', 'scipy') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=room, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_entry_point_is_main():
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["scripts"]["pictor"] == "pictor.cli:main"


def test_a_new_verb_is_one_file(tmp_path, monkeypatch, capsys):
    package = Path(shutil.copytree(Path(pictor.__file__).parent / "cli", tmp_path / "cli"))
    (package / "hello_there.py").write_text(
        "import typer\n"
        "app = typer.Typer()\n"
        "@app.command()\n"
        "def hello(times: int = 1):\n"
        "    print('hello ' * times)\n"
    )
    monkeypatch.setattr("pictor.cli.__path__", [str(package)])
    assert main(["hello-there", "--times", "2"]) == 0
    assert capsys.readouterr().out.strip() == "hello hello"


def test_errors_and_notes_do_not_command_the_terminal(run, room):
    run("generate", "a", "--steps", 1, "--out", "x.png")
    with Image.open("x.png") as image:
        recipe = json.loads(image.text["pictor"])
        for changes, code in (({"version": "\x1b[2J"}, 1), ({"inputs": {"\x1b[2J": "x"}}, 2)):
            info = PngImagePlugin.PngInfo()
            info.add_text("pictor", json.dumps({**recipe, **changes}))
            Image.new("RGB", image.size).save("y.png", pnginfo=info)
            got, _, err = run("reproduce", "y.png")
            assert got == code
            assert "\ufffd[2J" in err


def test_a_bad_recipe_is_said_without_torch(room):
    code = (
        "import sys, pictor.cli; code = pictor.cli.main(['train', 'none.toml']);"
        " sys.exit(99 if 'torch' in sys.modules else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "none.toml does not exist" in done.stderr
