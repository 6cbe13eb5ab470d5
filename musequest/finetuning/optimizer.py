"""AdamW for weights in bfloat16, none of whose steps is lost to rounding.

Beside a weight of 0.02, bfloat16 has the next number 0.0001 further: a step of 0.00001 is rounded
back to where it began, and so is every one after it. Here the optimizer keeps what rounding leaves
over of each weight, 16 bits, beside the 16 of bfloat16: together they are the float32 number that
AdamW computes with, and the model holds the nearest bfloat16 of it (master weights: Micikevicius
et al., 2018, https://arxiv.org/abs/1710.03740). AdamW's own two numbers a weight are kept in 8 bits
each by bitsandbytes (Dettmers et al., 2022, https://arxiv.org/abs/2110.02861), so that all of it
takes the four bytes a weight that AdamW takes in bfloat16.

Nothing is drawn at random, so a run that goes on does exactly what it would have done. Rounding
by chance, as torchao does it in the same memory, left 20 % of the weights of the trial in
tests/finetuning/test_optimizer.py where they were; it also wants a C++ compiler on the machine.
"""

from __future__ import annotations

from typing import Any

import torch
from bitsandbytes.optim import AdamW8bit
from torch import nn
from transformers import TrainingArguments

# The value of `optim` that chooses it; the others are those of `transformers.TrainingArguments`.
MASTER_WEIGHTS = "adamw_8bit_master_weights"
# What stands for it in the library's own settings, which know no optimizers but their own.
IN_THE_LIBRARY = {"optim": "adamw_8bit", "optim_args": "master_weights=True"}
LEFT_OVER = "left_over"  # of an optimizer state, what rounding to bfloat16 left over
LOWER_BITS = 16  # of a float32, of which bfloat16 has the upper half


class MasterWeightsAdamW(AdamW8bit):
    """AdamW with states in 8 bits that updates weights in bfloat16 as if they were float32.

    Weights of another dtype are updated as they are. Matrices of less than 4,096 numbers keep
    their states in 32 bits, as bitsandbytes has it.
    """

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, **options)
        self.non_castable_tensor_keys: set[str] = {*self.non_castable_tensor_keys, LEFT_OVER}

    def init_state(self, group: dict[str, Any], p: nn.Parameter, gindex: int, pindex: int) -> None:
        """Begin with weights from which rounding has left nothing over."""
        super().init_state(group, p, gindex, pindex)
        if p.dtype == torch.bfloat16:
            self.state[p][LEFT_OVER] = torch.zeros_like(p, dtype=torch.int16)

    @torch.no_grad()
    def update_step(self, group: dict[str, Any], p: nn.Parameter, gindex: int, pindex: int) -> None:
        """One step of one parameter."""
        state = self.state[p]
        if LEFT_OVER not in state:
            super().update_step(group, p, gindex, pindex)
            return
        exact = nn.Parameter(join(p, state[LEFT_OVER]), requires_grad=False)
        exact.grad = p.grad.float()
        self.state[exact] = state
        super().update_step(group, exact, gindex, pindex)
        del self.state[exact]
        rounded, left_over = split(exact)
        p.copy_(rounded)
        state[LEFT_OVER].copy_(left_over)


def split(exact: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Float32 numbers as the nearest bfloat16 (in float32) and what is left over (int16).

    Read as integers, neighbouring numbers are one apart: what is left over is their difference.
    """
    bits = exact.detach().view(torch.int32)
    upper = (bits + 2 ** (LOWER_BITS - 1)) & -(2**LOWER_BITS)
    return upper.view(torch.float32), (bits - upper).to(torch.int16)


def join(rounded: torch.Tensor, left_over: torch.Tensor) -> torch.Tensor:
    """The float32 numbers that `split` took apart."""
    return (rounded.detach().float().view(torch.int32) + left_over).view(torch.float32)


def as_arguments(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings in words that `transformers.TrainingArguments` knows."""
    return settings | IN_THE_LIBRARY if settings.get("optim") == MASTER_WEIGHTS else settings


def optimizer_of(
    arguments: TrainingArguments,
) -> tuple[type[MasterWeightsAdamW], dict[str, Any]] | None:
    """Class and keywords of our optimizer, if these arguments ask for it."""
    if arguments.optim_args != IN_THE_LIBRARY["optim_args"]:
        return None
    betas = (arguments.adam_beta1, arguments.adam_beta2)
    options = {"lr": arguments.learning_rate, "betas": betas, "eps": arguments.adam_epsilon}
    return MasterWeightsAdamW, options
