"""A language model that remembers what it has read. Importing this file does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.backends.base import Part, Tensors
from pictor.backends.torch import TorchModule

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _call(network: Any, inputs: Tensors) -> Tensors:
    return {"logits": network(input_ids=inputs["input_ids"]).logits}


TRANSFORMER = Part(
    name="transformer",
    subfolder="transformer",
    library="transformers",
    classes=("GPT2LMHeadModel",),
    inputs={"input_ids": "BT"},
    outputs=("logits",),
    call=_call,
    images=False,
)
"""Reads tokens; what it returns has a row of logits for each of them."""


class TokenTransformer(TorchModule):
    """`TRANSFORMER`, read a few tokens at a time; for the arguments see `TorchModule`.

    Legend of array shapes: B rows, T tokens, V the vocabulary.
    """

    def read(self, ids_BT: NDArray[np.int64], memory: Any = None) -> tuple[NDArray[np.float32], Any]:
        """Read on.

        Args:
            ids_BT: what comes next, in each row equally many tokens.
            memory: what the last call for these rows returned, whose keys and values need no second look;
                None at the beginning. It may not be used again.

        Returns:
            Logits [B, V] of the token after, and the memory for the next call.

        Raises:
            ModelError: the network cannot be loaded.
        """
        self.load()
        import torch

        with self._on_device(), torch.inference_mode():
            out = self._network(
                input_ids=self._send("input_ids", ids_BT),
                past_key_values=memory,
                use_cache=True,
                logits_to_keep=1,
            )
            return out.logits[:, -1].float().cpu().numpy(), out.past_key_values
