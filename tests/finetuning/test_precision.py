"""Mixed precision comes to the same in one process, in a pipeline and with sharded weights."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from forked import in_processes
from tiny_dialogs import write_dataset, write_profile

from musequest.core.settings import load_approach
from musequest.core.tables import read_table
from musequest.finetuning import training
from musequest.finetuning.training import train

# Rows a step: 4 in each, given whole to the stages of a pipeline, half to each of two shares.
SETTINGS = {"learning_rate": "0.003", "eval_steps": "1", "max_steps": "3", "seed": "3"}
BATCH = {"full": "4", "full_mp": "4", "full_fsdp": "2"}
# name of the case: approach, dtype of the weights, mixed precision, keys of `parallel`
CASES = {
    "pipeline": ("full_mp", "float32", "true", {}),
    "pipeline of bf16 weights": ("full_mp", "bfloat16", "true", {}),
    "shards": ("full_fsdp", "float32", "true", {}),
    "recomputed shards": ("full_fsdp", "float32", "false", {"activation_checkpointing": True}),
}


def run(profile, home: Path, case: tuple) -> None:
    approach_name, dtype, bf16, parallel = case
    os.environ["MUSEQUEST_HOME"] = str(home)
    approach = load_approach(approach_name)
    if approach.parallel:
        approach = replace(approach, parallel={**approach.parallel, **parallel})
    chosen = SETTINGS | {"bf16": bf16, "per_device_train_batch_size": BATCH[approach_name]}
    if parallel:  # which says whether activations are recomputed
        chosen["activation_checkpointing"] = "null"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "load_approach", lambda name: approach)
        train(replace(profile, dtype=dtype), approach_name, chosen, progress=False)


def run_cases(profile, home: Path) -> None:
    """All parallel cases, in every process."""
    for name, case in CASES.items():
        run(profile, home / name, case)


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_docent):
    """Where each case has run, and full fine-tuning beside it in both dtypes and in fp32."""
    home = tmp_path_factory.mktemp("precision")
    alone = {dtype: ("full", dtype, "true", {}) for dtype in ("float32", "bfloat16")}
    alone["exact"] = ("full", "float32", "false", {})
    for name in (*CASES, *alone):
        write_dataset(home / name, "tiny")
    profile = write_profile(home, tiny_docent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSEQUEST_HOME", str(home))
        for name, case in alone.items():
            run(profile, home / name, case)
        in_processes(run_cases, profile, home)
    return home


def losses(folder: Path, approach: str) -> np.ndarray:
    metrics = read_table("metrics", folder / "runs" / "tiny" / approach / "metrics.parquet")
    assert metrics.step.tolist() == [1, 2, 3]
    return metrics[["train_loss", "eval_loss"]].to_numpy(float)


@pytest.mark.parametrize("name", CASES)
def test_a_parallel_run_in_mixed_precision_is_full_fine_tuning(home, name):
    approach, dtype, bf16, _ = CASES[name]
    alone = losses(home / (dtype if bf16 == "true" else "exact"), "full")
    np.testing.assert_allclose(losses(home / name, approach), alone, rtol=1e-4)
