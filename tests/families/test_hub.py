"""Models by their id, from a small Hub on this machine."""

import json
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from pictor import ModelError
from pictor.families.parts.hub import fetch, is_hub_id, wanted

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """Answers as much of the Hub's protocol as a download of one repository needs."""

    def __init__(self, folder, asked, *arguments):
        self.folder, self.asked = folder, asked
        super().__init__(*arguments)

    def log_message(self, *_):
        pass

    def _files(self):
        return sorted(p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*") if p.is_file())

    def _answer(self, status, body=b"", **headers):
        self.send_response(status)
        for key, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path = unquote(urlparse(self.path).path)
        self.asked.append(path)
        if path.startswith("/api/models/me/tiny/tree/"):
            tree = [
                {"type": "file", "path": name, "size": (self.folder / name).stat().st_size, "oid": "0" * 40}
                for name in self._files()
            ]
            return self._answer(200, json.dumps(tree).encode(), Content_Type="application/json")
        if path.startswith("/api/models/me/tiny"):
            siblings = [{"rfilename": name} for name in self._files()]
            info = {"id": "me/tiny", "sha": COMMIT, "siblings": siblings}
            return self._answer(200, json.dumps(info).encode(), Content_Type="application/json")
        if path.startswith("/me/tiny/resolve/"):
            name = path.split("/", 5)[5]
            data = (self.folder / name).read_bytes()
            return self._answer(
                200,
                data,
                ETag=f'"{hash(name) & 0xFFFFFFFF:040x}"',
                X_Repo_Commit=COMMIT,
                Accept_Ranges="none",
            )
        return self._answer(404, b'{"error": "Repository not found"}', X_Error_Code="RepoNotFound")

    def do_HEAD(self):
        return self.do_GET()


@pytest.fixture
def hub(tiny_folder, tmp_path):
    """Address of the Hub, and what it was asked for."""
    asked = []
    folder = tmp_path / "there"
    shutil.copytree(tiny_folder, folder)
    (folder / "pictor.json").write_text('{"name": "tiny"}')  # with its graphs, so that torch is not needed
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, folder, asked))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()
    thread.join()


def run(code, room, address, **more):
    """Run code in a process of its own, since the Hub's library reads its settings once."""
    env = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(room / "hf"), **more}
    env |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=room, capture_output=True, text=True, check=False
    )


def test_a_model_is_fetched_once_and_then_used_offline(hub, tmp_path):
    address, asked = hub
    code = (
        'import pictor; s = pictor.load("me/tiny"); print(s.generate("a", num_steps=1)[0].recipe.model_hash)'
    )
    first = run(code, tmp_path, address)
    assert first.returncode == 0, first.stderr
    assert any("resolve" in path for path in asked)
    asked.clear()
    again = run(code, tmp_path, address)
    assert again.stdout == first.stdout
    assert asked == []
    offline = run(code, tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert offline.stdout == first.stdout


def test_what_is_not_to_be_had_is_one_error(hub, tmp_path):
    address, _ = hub
    code = 'import pictor.cli; print(pictor.cli.main(["generate", "a", "--model", "me/other"]))'
    done = run(code, tmp_path, address)
    assert done.stdout == "2\n"
    assert done.stderr.count("\n") == 1
    assert "no folder 'me/other'" in done.stderr
    offline = run(code.replace("other", "tiny"), tmp_path, address, HF_HUB_OFFLINE="1")
    assert offline.stdout == "2\n"


def test_only_what_is_read_is_fetched():
    files = [
        "README.md",
        "model_index.json",
        "v1-5-pruned.ckpt",
        "v1-5-pruned.safetensors",
        "feature_extractor/preprocessor_config.json",
        "safety_checker/model.safetensors",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "text_encoder/model.fp16.safetensors",
        "text_encoder/pytorch_model.bin",
        "tokenizer/merges.txt",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
        "transformer/diffusion_pytorch_model.safetensors.index.json",
        "vae/model.onnx",
    ]
    left = {
        "README.md",
        "v1-5-pruned.ckpt",
        "v1-5-pruned.safetensors",
        "feature_extractor/preprocessor_config.json",
        "safety_checker/model.safetensors",
        "text_encoder/model.fp16.safetensors",
        "text_encoder/pytorch_model.bin",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "vae/model.onnx",
    }
    assert wanted(files) == sorted(set(files) - left)
    assert "unet/model.onnx" in wanted([*files, "pictor.json", "unet/model.onnx"])
    encoder = ["image_encoder/config.json", "image_encoder/model.safetensors"]
    assert wanted(encoder) == encoder[:1]  # a picture adapter's
    beside = [
        "enlarger/config.json",
        "enlarger/diffusion_pytorch_model.safetensors",
        *encoder,
        "image_encoder/vocabulary.json",
    ]
    assert wanted(beside) == sorted(beside)
    graphs = [f"{part}/model.onnx" for part in ("enlarger", "image_encoder", "text_encoder_2")]
    assert wanted([*beside, *graphs]) == sorted(beside)
    assert wanted([*beside, *graphs, "pictor.json"]) == sorted([*beside, *graphs, "pictor.json"])


def test_what_lies_beside_a_model_is_fetched_where_it_was_not_kept(tmp_path, monkeypatch):
    import huggingface_hub

    from pictor.families.parts.hub import _kept as kept

    folder = tmp_path / "snapshot"
    for name in ("model_index.json", "enlarger/config.json", "image_encoder/config.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda name, file, revision=None: str(folder / file)
    )
    assert kept("me/tiny", None, False) is None
    (folder / "enlarger" / "diffusion_pytorch_model.safetensors").touch()
    assert kept("me/tiny", None, False) == folder  # the image encoder is a picture adapter's
    (folder / "image_encoder" / "vocabulary.json").touch()
    assert kept("me/tiny", None, False) is None
    (folder / "image_encoder" / "model.safetensors").touch()
    assert kept("me/tiny", None, False) == folder


def test_a_model_of_transformers_is_its_top_folder(hub, tmp_path):
    address, _ = hub
    (tmp_path / "there" / "config.json").write_text("{}")
    code = """
from pictor.families.parts.hub import fetch_of_transformers
folder = fetch_of_transformers("me/tiny")
print(sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()))
"""
    done = run(code, tmp_path, address)
    assert done.stdout == "['config.json', 'model_index.json', 'pictor.json']\n", done.stderr


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("stabilityai/sdxl-turbo", True),
        ("owner/name@v1.0", True),
        ("owner/name@refs/pr/1", True),
        ("folder", False),
        ("./models/sd", False),
        ("a/b/c", False),
        ("", False),
    ],
)
def test_ids(name, is_one):
    assert is_hub_id(name) == is_one
    if not is_one:
        with pytest.raises(ModelError, match="is no model"):
            fetch(name)
    assert Path(name) is not None
