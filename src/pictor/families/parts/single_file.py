"""Stable Diffusion 1.x, 2.x and XL in one .safetensors file of the original layout.

The file is read once: its tensors are written under diffusers' names, unchanged, into a folder in Pictor's
cache, with settings that follow from their shapes. Such a file has no tokenizer: CLIP's is taken from a
folder of the user's, or from the Hub.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.backends.kept import cache_folder
from pictor.backends.weights import ITEM_SIZES, Entry, read_header
from pictor.core.errors import InputError, ModelError
from pictor.families.parts.hub import fetch_files
from pictor.families.parts.ldm import unet_prefixes
from pictor.families.parts.ldm_rest import (
    QUERIES_KEYS_VALUES,
    Change,
    clip_name,
    open_clip_name,
    vae_name,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TOKENIZER = "openai/clip-vit-large-patch14"
"""CLIP's own, on the Hub; the second encoder of XL pads with another token."""
_TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
_SCALES = {"xl": 0.13025, "sd": 0.18215}
PREDICTIONS = {"eps": "epsilon", "v": "v_prediction"}

Names = Callable[[str], tuple[str, Change] | None]


@dataclass(frozen=True, kw_only=True)
class _Encoder:
    """A text encoder in the file."""

    part: str
    prefix: str
    names: Names
    projected: bool
    """Whether its class has a projection."""
    left_away: int
    """Last layers that the model does not read."""


def is_single_file(model: str | os.PathLike[str]) -> bool:
    return str(model).endswith(".safetensors") and os.path.isfile(model)


def open_single_file(file: Path, *, tokenizer: Path | None = None, prediction: str | None = None) -> Path:
    """The diffusers folder that holds what the file holds; made where it is not there yet.

    Args:
        file: in the original layout.
        tokenizer: folder of CLIP's tokenizer; None for the Hub's.
        prediction: "eps" or "v"; None for what the file says of itself, else v for 2.x and eps for others.

    Raises:
        InputError: the prediction is unknown.
        ModelError: the file is damaged, or no such checkpoint; or there is no tokenizer to be had.
    """
    if prediction not in (None, *PREDICTIONS):
        raise InputError(f"prediction is {prediction!r}", expected="eps or v", param="prediction")
    entries = read_header(file)
    if not any(name.startswith(UNET) for name in entries):
        raise ModelError(
            f"{file} holds no checkpoint of Stable Diffusion's original layout",
            expected="a whole model in one file (an adapter is given with --lora)",
            param="model",
        )
    digest = _digest(file, tokenizer, prediction)
    folder = cache_folder() / "checkpoints" / f"{file.stem}-{digest[:16]}"
    if (folder / "model_index.json").is_file():
        return folder
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        _write(file, entries, draft, tokenizer, prediction)
        shutil.rmtree(folder, ignore_errors=True)
        draft.replace(folder)
    except OSError as error:
        raise ModelError(f"cannot write {folder} ({error.strerror})", param="model") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _digest(file: Path, *more: object) -> str:
    """Of what the folder depends on; for the file's gigabytes its name, size and time stand in."""
    facts = file.stat()
    told = repr((str(file.resolve()), facts.st_size, facts.st_mtime_ns, *map(str, more), 1))
    return hashlib.sha256(told.encode()).hexdigest()


def _write(
    file: Path,
    entries: Mapping[str, Entry],
    folder: Path,
    tokenizer: Path | None,
    prediction: str | None,
) -> None:
    data = np.memmap(file, np.uint8, mode="r")
    unet = _unet_config(file, entries)
    encoders = _encoders(file, entries)
    xl = any(encoder.part == "text_encoder_2" for encoder in encoders)
    prefixes = sorted(((theirs, ours) for ours, theirs in unet_prefixes(unet).items()), reverse=True)

    def unet_name(name: str) -> tuple[str, Change] | None:
        for theirs, ours in prefixes:
            if name.startswith(f"{theirs}."):
                return ours + name[len(theirs) :], "same"
        return None

    vae = _vae_config(entries, _SCALES["xl" if xl else "sd"])
    levels = len(vae["block_out_channels"])
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionXLPipeline" if xl else "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    if xl:
        refiner = len(encoders) == 1
        index |= {"force_zeros_for_empty_prompt": not refiner, "requires_aesthetics_score": refiner}
    _part(folder / "unet", unet, file, data, entries, UNET, unet_name)
    _part(folder / "vae", vae, file, data, entries, VAE, lambda name: vae_name(name, levels))
    source = tokenizer or fetch_files(TOKENIZER, _TOKENIZER_FILES)
    for encoder in encoders:
        config = _text_config(entries, encoder)
        _part(
            folder / encoder.part,
            config,
            file,
            data,
            entries,
            encoder.prefix,
            _without_last_layers(encoder.names, config["num_hidden_layers"]),
        )
        index[encoder.part] = ["transformers", config["architectures"][0]]
        place = encoder.part.replace("text_encoder", "tokenizer")
        index[place] = ["transformers", "CLIPTokenizer"]
        _tokenizer(source, folder / place, padded="!" if encoder.names is open_clip_name else None)
    chosen = (
        prediction or _said_prediction(entries) or ("v" if unet["cross_attention_dim"] == 1024 else "eps")
    )
    _json(folder / "scheduler" / "scheduler_config.json", _scheduler(chosen, "ztsnr" in entries))
    _json(folder / "model_index.json", index)


def _said_prediction(entries: Mapping[str, Entry]) -> str | None:
    """Some files carry an empty tensor that says it."""
    return "v" if "v_pred" in entries else None


def _unet_config(file: Path, entries: Mapping[str, Entry]) -> dict[str, Any]:
    """A UNet2DConditionModel's settings, from the shapes of its tensors."""
    shapes = {name[len(UNET) :]: entry.shape for name, entry in entries.items() if name.startswith(UNET)}
    try:
        channels, layers, depths = _levels(shapes)
        middle = _depth(shapes, "middle_block.1")
        context = next(s[1] for name, s in shapes.items() if name.endswith("attn2.to_k.weight"))
        linear = len(next(s for name, s in shapes.items() if name.endswith(".proj_in.weight"))) == 2
        config: dict[str, Any] = {
            "_class_name": "UNet2DConditionModel",
            "sample_size": {768: 64, 1024: 96}.get(context, 128),
            "in_channels": shapes["input_blocks.0.0.weight"][1],
            "out_channels": shapes["out.2.weight"][0],
            "block_out_channels": channels,
            "layers_per_block": layers,
            "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
            "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
            "cross_attention_dim": context,
            # The class's name for the number of heads: 8 at first, later heads of 64 channels.
            "attention_head_dim": [width // 64 for width in channels] if linear else 8,
            "use_linear_projection": linear,
            "transformer_layers_per_block": [depth or middle for depth in depths],
        }
        if "label_emb.0.0.weight" in shapes:
            config |= {
                "addition_embed_type": "text_time",
                "addition_time_embed_dim": 256,
                "projection_class_embeddings_input_dim": shapes["label_emb.0.0.weight"][1],
            }
    except (KeyError, StopIteration, IndexError) as error:
        raise ModelError(
            f"{file} lacks a part of its UNet ({error!r})", expected="a whole checkpoint", param="model"
        ) from None
    return config


def _levels(shapes: Mapping[str, tuple[int, ...]]) -> tuple[list[int], int, list[int]]:
    """Channels, residual layers and transformer layers (0: no attention) of each level, fine to coarse."""
    blocks = sorted({int(name.split(".")[1]) for name in shapes if name.startswith("input_blocks.")})
    channels: list[int] = []
    depths: list[int] = []
    counts: list[int] = []
    for block in blocks[1:]:
        place = f"input_blocks.{block}"
        if f"{place}.0.op.weight" in shapes:
            continue
        first = not channels or f"input_blocks.{block - 1}.0.op.weight" in shapes
        if first:
            channels.append(shapes[f"{place}.0.out_layers.3.weight"][0])
            counts.append(0)
            depths.append(_depth(shapes, f"{place}.1"))
        counts[-1] += 1
    return channels, counts[0], depths


def _depth(shapes: Mapping[str, tuple[int, ...]], attention: str) -> int:
    """Transformer layers of an attention block."""
    inner = re.compile(rf"{re.escape(attention)}\.transformer_blocks\.(\d+)\.")
    found = [int(match[1]) for name in shapes if (match := inner.match(name))]
    return max(found) + 1 if found else 0


def _vae_config(entries: Mapping[str, Entry], scale: float) -> dict[str, Any]:
    shapes = {name[len(VAE) :]: entry.shape for name, entry in entries.items() if name.startswith(VAE)}
    try:
        levels = 1 + max(int(n.split(".")[2]) for n in shapes if n.startswith("encoder.down."))
        channels = [shapes[f"encoder.down.{at}.block.0.conv2.weight"][0] for at in range(levels)]
        layers = 1 + max(int(n.split(".")[4]) for n in shapes if n.startswith("encoder.down.0.block."))
        latents = shapes["post_quant_conv.weight"][0]
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"the file lacks a part of its autoencoder ({error!r})",
            expected="a checkpoint with its autoencoder",
            param="model",
        ) from None
    return {
        "_class_name": "AutoencoderKL",
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": layers,
        "latent_channels": latents,
        "scaling_factor": scale,
    }


def _encoders(file: Path, entries: Mapping[str, Entry]) -> list[_Encoder]:
    def has(prefix: str) -> bool:
        return any(name.startswith(prefix) for name in entries)

    if has("conditioner.embedders.0.transformer."):  # XL
        return [
            _encoder("text_encoder", "conditioner.embedders.0.transformer.", clip_name),
            _encoder("text_encoder_2", "conditioner.embedders.1.model.", open_clip_name, projected=True),
        ]
    if has("conditioner.embedders.0.model."):  # XL's refiner
        return [_encoder("text_encoder_2", "conditioner.embedders.0.model.", open_clip_name, projected=True)]
    if has("cond_stage_model.transformer."):  # 1.x
        return [_encoder("text_encoder", "cond_stage_model.transformer.", clip_name)]
    if has("cond_stage_model.model."):  # 2.x reads the layer before the last
        return [_encoder("text_encoder", "cond_stage_model.model.", open_clip_name, left_away=1)]
    raise ModelError(
        f"{file} has no text encoder",
        expected="a whole checkpoint of Stable Diffusion 1.x, 2.x or XL",
        param="model",
    )


def _encoder(
    part: str, prefix: str, names: Names, *, projected: bool = False, left_away: int = 0
) -> _Encoder:
    return _Encoder(part=part, prefix=prefix, names=names, projected=projected, left_away=left_away)


def _text_config(entries: Mapping[str, Entry], encoder: _Encoder) -> dict[str, Any]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name, entry in entries.items():
        if name.startswith(encoder.prefix) and (found := encoder.names(name[len(encoder.prefix) :])):
            shapes[found[0]] = entry.shape
    try:
        vocabulary, width = shapes["text_model.embeddings.token_embedding.weight"]
        layers = 1 + max(int(n.split(".")[3]) for n in shapes if n.startswith("text_model.encoder.layers."))
        config: dict[str, Any] = {
            "architectures": ["CLIPTextModelWithProjection" if encoder.projected else "CLIPTextModel"],
            "model_type": "clip_text_model",
            "vocab_size": vocabulary,
            "hidden_size": width,
            "intermediate_size": shapes["text_model.encoder.layers.0.mlp.fc1.weight"][0],
            "num_hidden_layers": layers - encoder.left_away,
            "num_attention_heads": max(1, width // 64),
            "max_position_embeddings": shapes["text_model.embeddings.position_embedding.weight"][0],
            "hidden_act": "gelu" if encoder.names is open_clip_name else "quick_gelu",
            "bos_token_id": vocabulary - 2,
            "eos_token_id": vocabulary - 1,
            "pad_token_id": 0 if encoder.names is open_clip_name else vocabulary - 1,
            "projection_dim": shapes.get("text_projection.weight", (width, width))[1],
        }
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"the file lacks a part of its {encoder.part} ({error!r})",
            expected="a whole checkpoint",
            param="model",
        ) from None
    return config


def _without_last_layers(names: Names, layers: int) -> Names:
    def kept(name: str) -> tuple[str, Change] | None:
        found = names(name)
        layer = re.match(r"text_model\.encoder\.layers\.(\d+)\.", found[0]) if found else None
        return None if layer is not None and int(layer[1]) >= layers else found

    return kept


def _part(
    folder: Path,
    config: Mapping[str, Any],
    file: Path,
    data: NDArray[np.uint8],
    entries: Mapping[str, Entry],
    prefix: str,
    names: Names,
) -> None:
    """Write one network: its settings, and its tensors under diffusers' names."""
    tensors: dict[str, tuple[str, tuple[int, ...], NDArray[np.uint8]]] = {}
    for name, entry in entries.items():
        found = names(name[len(prefix) :]) if name.startswith(prefix) else None
        if found is None:
            continue
        called, change = found
        raw = data[entry.offset : entry.offset + entry.length]
        shape = entry.shape
        if change == "squeeze":
            tensors[called] = entry.dtype, shape[:2], raw
        elif change == "transpose":
            items = raw.reshape(*shape, ITEM_SIZES[entry.dtype]).transpose(1, 0, 2)
            tensors[called] = entry.dtype, shape[::-1], np.ascontiguousarray(items).reshape(-1)
        elif change == "split":
            third = (shape[0] // 3, *shape[1:])
            for part, piece in zip(QUERIES_KEYS_VALUES, np.split(raw, 3), strict=True):
                tensors[called.format(part)] = entry.dtype, third, piece
        else:
            tensors[called] = entry.dtype, shape, raw
    _json(folder / "config.json", config)
    text = config.get("model_type") == "clip_text_model"
    _safetensors(folder / ("model.safetensors" if text else "diffusion_pytorch_model.safetensors"), tensors)


def _safetensors(path: Path, tensors: Mapping[str, tuple[str, tuple[int, ...], NDArray[np.uint8]]]) -> None:
    """Write tensors as they are, byte by byte; numpy has no bfloat16."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + raw.size]}
        at += raw.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for _, _, raw in tensors.values():
            np.ascontiguousarray(raw).tofile(stream)


def _tokenizer(source: Path, folder: Path, padded: str | None) -> None:
    folder.mkdir(parents=True)
    copied = [name for name in (*_TOKENIZER_FILES, "tokenizer.json") if (source / name).is_file()]
    if not {"tokenizer.json", "vocab.json"} & set(copied):
        raise ModelError(
            f"{source} is no tokenizer", expected="a folder with vocab.json and merges.txt", param="tokenizer"
        )
    for name in copied:
        shutil.copyfile(source / name, folder / name)
    if padded is not None:
        file = folder / "tokenizer_config.json"
        config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        _json(file, {**config, "pad_token": padded})


def _scheduler(prediction: str, zero_snr: bool) -> dict[str, Any]:
    """The noise that all of them were trained with."""
    return {
        "_class_name": "DDIMScheduler",
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "num_train_timesteps": 1000,
        "prediction_type": PREDICTIONS[prediction],
        "rescale_betas_zero_snr": zero_snr,
        "timestep_spacing": "trailing" if zero_snr else "leading",
        "steps_offset": 1,
        "clip_sample": False,
    }


def _json(path: Path, record: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
