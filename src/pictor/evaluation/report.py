"""An evaluation as a table for the terminal and as a document for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pictor.evaluation.distribution import Distribution
from pictor.evaluation.evaluate import SOURCES, Evaluation, Memory
from pictor.evaluation.prompts import LANGUAGES, Prompt
from pictor.evaluation.scoring import ALL, ATTRIBUTES, Marks, Share, tally

COLUMNS = (*ATTRIBUTES, ALL)
SET_COLUMNS = ("FD", "KID x 1000", "precision", "recall", "density", "coverage")
SPLITS = ("seen", "held out")
LANGUAGE_NAMES = {"en": "English", "zh": "Chinese"}


def cell(
    found: Evaluation,
    source: str,
    *,
    split: str | None = None,
    language: str | None = None,
    kind: str | None = None,
) -> dict[str, Share] | None:
    """One source's shares over prompts of a split, language and kind (None: any); None if not measured."""
    if source not in found.marks:
        return None

    def wanted(prompt: Prompt) -> bool:
        return (
            (split is None or prompt.held_out == (split == "held out"))
            and language in (None, prompt.language)
            and kind in (None, prompt.kind)
        )

    pairs: Sequence[tuple[Prompt, Marks]] = list(zip(found.prompts, found.marks[source], strict=True))
    return tally(marks for prompt, marks in pairs if wanted(prompt))


def percent(share: Share | None) -> str:
    """A share and its interval in whole per cent: "83 (74-89)"; "-" where nobody asked."""
    if share is None:
        return "-"
    low, high = share.interval
    return f"{100 * share.share:.0f} ({100 * low:.0f}-{100 * high:.0f})"


def table(found: Evaluation) -> str:
    """Plain text: accuracies by split and language, then the sets, memory and diversity."""
    lines = [
        f"{found.model}: {len(found.pictures)} pictures of {found.size[0]}x{found.size[1]}, "
        + ", ".join(f"{name} {value}" for name, value in found.settings.items()),
        "Per cent right, with 95% Wilson intervals.",
    ]
    for split in SPLITS:
        for language in LANGUAGES:
            rows = []
            for source in SOURCES:
                shares = cell(found, source, split=split, language=language)
                row = ["not measured"] if shares is None else [percent(shares.get(name)) for name in COLUMNS]
                rows.append([source, *row])
            lines += [
                "",
                f"{split} compositions, {LANGUAGE_NAMES[language]}",
                *aligned([["", *COLUMNS], *rows]),
            ]
    lines += [
        "",
        "Beside as many other real renders, in the judge's space",
        *aligned(_distribution_rows(found)),
    ]
    diversity = found.diversity
    lines += [
        "",
        *([_memory_line(found.memory)] if found.memory else []),
        f"Diversity (Vendi): {diversity.made:.1f} of {diversity.pictures} pictures, real renders "
        f"{diversity.real:.1f}; of {diversity.same_prompt_pictures} pictures of one prompt "
        f"{diversity.same_prompt_made:.2f}, real renders {diversity.same_prompt_real:.2f}",
    ]
    return "\n".join([*lines, *found.notes])


def _memory_line(memory: Memory) -> str:
    made, fresh = np.median(memory.made), np.median(memory.fresh)
    return (
        f"Memory: nearest of {memory.pool} training pictures ({memory.among}) at {made:.3f} in the median, "
        f"of new real renders at {fresh:.3f}; a picture is nearer than a new render with probability "
        f"{memory.nearer:.2f} (0.5 for equals); {100 * memory.suspicious:.0f}% are nearer than 95% of new "
        "renders are (5% for equals)"
    )


def _distribution_rows(found: Evaluation) -> list[list[str]]:
    rows = [[one.split, one.source, *distribution_cells(one)] for one in found.distributions]
    return [["", "", *SET_COLUMNS], *rows]


def distribution_cells(one: Distribution) -> list[str]:
    """Cells below `SET_COLUMNS`."""
    near = one.manifold
    shares = ["-"] * 4
    if near is not None:
        shares = [f"{v:.2f}" for v in (near.precision, near.recall, near.density, near.coverage)]
    kernel = f"{1000 * one.kernel:.2f} ± {1000 * one.kernel_error:.2f}"
    return [f"{one.frechet:.3f}", kernel, *shares]


def aligned(rows: list[list[str]]) -> list[str]:
    """The lines of a table."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)).rstrip()
        for row in rows
    ]


def document(found: Evaluation) -> dict[str, Any]:
    """Everything that was measured, as JSON values."""
    wish = {name: value for name, value in asdict(found.wish).items() if name != "font"}
    accuracy = []
    for source in found.marks:
        for split in (None, *SPLITS):
            for language in (None, *LANGUAGES):
                for kind in (None, *found.wish.kinds):
                    shares = cell(found, source, split=split, language=language, kind=kind)
                    accuracy.append(
                        {
                            "source": source,
                            "split": split or "all",
                            "language": language or "all",
                            "kind": kind or "all",
                            "shares": {name: _share(share) for name, share in (shares or {}).items()},
                        }
                    )
    memory, diversity = found.memory, found.diversity
    return {
        "model": found.model,
        "model_hash": found.model_hash,
        "judge": found.judge,
        "size": list(found.size),
        "wish": wish | {"kinds": list(found.wish.kinds)},
        "settings": found.settings,
        "accuracy": accuracy,
        "distributions": [asdict(one) for one in found.distributions],
        "memory": memory and _memory_figures(memory),
        "diversity": {
            "vendi": diversity.made,
            "vendi_of_real_renders": diversity.real,
            "pictures": diversity.pictures,
            "vendi_of_one_prompt": diversity.same_prompt_made,
            "vendi_of_one_prompt_of_real_renders": diversity.same_prompt_real,
            "pictures_of_one_prompt": diversity.same_prompt_pictures,
        },
        "prompts": [
            {
                "text": prompt.text,
                "kind": prompt.kind,
                "held_out": prompt.held_out,
                "language": prompt.language,
                "right": found.marks["model"][prompt.number],
                "distance_to_training": memory and float(memory.made[prompt.number]),
            }
            for prompt in found.prompts
        ],
        "notes": found.notes,
    }


def _memory_figures(memory: Memory) -> dict[str, Any]:
    return {
        "training_pictures": memory.pool,
        "training_pictures_searched": memory.searched,
        "searched": memory.among,
        "median_distance": float(np.median(memory.made)),
        "median_distance_of_new_renders": float(np.median(memory.fresh)),
        "probability_nearer_than_new_render": memory.nearer,
        "share_nearer_than_95_percent_of_new_renders": memory.suspicious,
    }


def _share(share: Share) -> dict[str, float | int]:
    low, high = share.interval
    return {"right": share.right, "total": share.total, "share": share.share, "low": low, "high": high}
