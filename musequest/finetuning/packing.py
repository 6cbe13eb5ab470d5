"""Rows behind each other, so that nothing is computed that only fills a shorter row up.

    (rows, longest) tokens, padded    become    (1, tokens of all rows)

Matrices, norms and the loss take each token for itself. Attention alone would look from a row into
those before it. There the rows are laid beside each other again, where it is causal without a mask
and has its fast kernel; a mask for all tokens would make it compute every pair of rows (Krell et
al., 2021, https://arxiv.org/abs/2107.02027). Behind its last learned token a row tells nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from .anatomy import module_of
from .collator import IGNORED, join

PLAIN, PACKED = "sdpa", "sdpa_packed"  # kinds of attention, by the library's name and ours
# What a decoder is told that is told of nothing but its tokens.
TOLD = "input_ids attention_mask position_ids past_key_values inputs_embeds use_cache kwargs"
# Tensors of tokens; where a batch has more, the model does not see one token after the other.
OF_TOKENS = {"input_ids", "labels", "logits_to_keep"}


class Packing:
    """Packs batches for one model; `on` says whether it does, and may be set to False."""

    def __init__(self, model: nn.Module, padding: int) -> None:
        config = module_of(model, "decoder").config
        self.padding, self.on = padding, can_pack(model)
        self.most = getattr(config, "sliding_window", None)  # tokens a row
        if self.on:
            config._attn_implementation = PACKED

    def __call__(self, batch: Mapping[str, Any], parts: int = 1) -> dict[str, Any]:
        """The batch with its rows behind each other, in `parts` that are about equally long.

        Tensors of tokens (rows, tokens) become (parts, tokens of a part), with `position_ids` and
        an `attention_mask` (parts, 1, rows of a part, longest) that says how they were. What
        belongs to photos stays in the order of the rows; where it is a list of a tensor, or None,
        a row, it becomes one of a part. Behind a shorter part stands padding as a row of its own.
        """
        labels = batch["labels"]
        named = {name for name, held in batch.items() if getattr(held, "shape", 0) == labels.shape}
        places = torch.arange(1, labels.shape[1] + 1, device=labels.device)
        lasts = ((labels != IGNORED) * places).amax(dim=1).tolist()
        ends = [last or labels.shape[1] for last in lasts]
        if not self.on or not named <= OF_TOKENS or max(ends) > (self.most or max(ends)):
            return dict(batch)
        chosen = _parts(ends, parts)
        most = max(sum(ends[row] for row in part) for part in chosen)
        lengths = [[ends[row] for row in part] for part in chosen]
        lengths = [[*own, most - sum(own)] if most > sum(own) else own for own in lengths]
        beside = max(map(len, lengths)), max(map(max, lengths))
        packed: dict[str, Any] = {
            "position_ids": torch.stack([torch.cat([*map(torch.arange, own)]) for own in lengths]),
            "attention_mask": torch.ones(parts, 1, *beside, dtype=torch.bool),
        }
        packed = {name: held.to(labels.device) for name, held in packed.items()}
        fill = {"input_ids": self.padding, "labels": IGNORED}
        for name, held in batch.items():
            if name in named:
                laid = [torch.cat([held[row, : ends[row]] for row in part]) for part in chosen]
                packed[name] = pad_sequence(laid, True, fill.get(name, 0))
            elif isinstance(held, list):
                of_parts = [[held[row] for row in part if held[row] is not None] for part in chosen]
                packed[name] = [join(each) if each else None for each in of_parts]
            else:
                packed[name] = held
        return packed


def can_pack(model: nn.Module) -> bool:
    """Whether each token sees those before it, counted from its row's beginning, and no others."""
    decoder = module_of(model, "decoder")
    config, told = decoder.config, inspect.signature(decoder.forward).parameters.keys()
    rotary = getattr(config, "rope_parameters", None) or {}
    kinds = {*(getattr(config, "layer_types", None) or ()), "full_attention"}
    return (
        config._attn_implementation in (PLAIN, PACKED)
        and bool(decoder._supports_attention_backend)
        and told <= {*TOLD.split()}
        and kinds == {"full_attention"}
        and "rope_type" in rotary
        and "mrope_section" not in rotary  # which counts places in several dimensions
    )


def fill_rows(batch: Mapping[str, Any], multiple: int) -> dict[str, Any]:
    """The batch with copies of its last row behind it, up to a multiple, their labels -100."""
    rows, missing = len(batch["labels"]), -len(batch["labels"]) % multiple
    if not missing:
        return dict(batch)
    places = [*range(rows), *[rows - 1] * missing]
    filled: dict[str, Any] = {
        name: [held[place] for place in places] if isinstance(held, list) else held[places]
        for name, held in batch.items()
    }
    filled["labels"][-missing:] = IGNORED
    return filled


def _parts(lengths: Sequence[int], count: int) -> list[list[int]]:
    """Rows in so many parts whose lengths come to about the same; one part keeps their order."""
    if count == 1:
        return [[*range(len(lengths))]]
    parts: list[list[int]] = [[] for _ in range(count)]
    for number, row in enumerate(sorted(range(len(lengths)), key=lambda row: -lengths[row])):
        turn, place = divmod(number, count)
        parts[count - 1 - place if turn % 2 else place].append(row)
    return parts


def packed_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    position_ids: torch.Tensor | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """(1, heads, tokens, width) -> (1, tokens, heads, width), in which a row sees itself alone.

    Rows are packed where `attention_mask` is (1, 1, rows, longest); all else is as in the library.
    """
    tokens, mask = query.shape[2], attention_mask
    if mask is None or position_ids is None or mask.shape[2:] == (tokens, key.shape[2]):
        return sdpa_attention_forward(module, query, key, value, mask, **options)
    rows, longest = mask.shape[2:]
    whole = tokens == rows * longest  # all are of one length
    place = (((position_ids == 0).cumsum(-1) - 1) * longest + position_ids)[0]

    def beside(held: torch.Tensor) -> torch.Tensor:
        laid = held.transpose(1, 2)[0]
        if not whole:
            laid = laid.new_zeros(rows * longest, *laid.shape[1:]).index_copy(0, place, laid)
        return laid.unflatten(0, (rows, longest)).transpose(1, 2)

    made, _ = sdpa_attention_forward(module, *map(beside, (query, key, value)), None, **options)
    behind = made.flatten(0, 1)
    return (behind if whole else behind.index_select(0, place))[None], None


AttentionInterface.register(PACKED, packed_attention)
AttentionMaskInterface.register(PACKED, sdpa_mask)
