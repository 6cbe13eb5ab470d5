"""Random numbers: what is drawn for one purpose moves no other."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def own_random_numbers(model: nn.Module) -> Iterator[None]:
    """What the block draws, on the processor and the model's GPUs, is not missed behind it.

    Already a data loader draws a number whenever it begins.
    """
    gpus = {p.device.index for p in model.parameters() if p.device.type == "cuda"}
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=sorted(gpus)):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
