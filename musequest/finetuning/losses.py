"""The loss of a step: the next token's, of the answer alone, with labels smoothed if asked to.

Every approach computes it through `model.loss_function`, a pipeline's last stage too, so that this
is the one place where a setting can change it.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModel
from torch import nn

from .collator import IGNORED


def smooth_labels(model: nn.Module, factor: float) -> None:
    """Let the model learn from labels smoothed by `factor` (Szegedy et al., 2015, section 7).

    Of each label, `factor` is spread evenly over the vocabulary (https://arxiv.org/abs/1512.00567).
    In validation the loss stays that of the true next token.
    """
    if not factor:
        return
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    plain = inner.loss_function

    def loss(
        logits: torch.Tensor,
        labels: torch.Tensor,
        vocab_size: int,
        num_items_in_batch: torch.Tensor | float | None = None,
        **options: Any,
    ) -> torch.Tensor:
        """Of (batch, tokens, vocabulary) logits: summed over the labels, over their number."""
        if not inner.training:
            return plain(logits, labels, vocab_size, num_items_in_batch, **options)
        following = nn.functional.pad(labels, (0, 1), value=IGNORED)[..., 1:]
        total = nn.functional.cross_entropy(
            logits.float().view(-1, vocab_size),
            following.reshape(-1).to(logits.device),
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=factor,
        )
        number = (following != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        return total / torch.as_tensor(number, device=total.device)

    inner.loss_function = loss
