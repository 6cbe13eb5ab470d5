"""Whether a docent learns as well by other processors' instructions, in bfloat16 and on one thread.

    python benchmarks/processors.py FOLDER             nine trainings of `pocket`, after `make demo`
    python benchmarks/processors.py FOLDER --ways avx2 one_thread bf16      seven of them
    python benchmarks/processors.py FOLDER --record    and keep it in records/processors.json

FOLDER holds a copy of the dataset, and the runs, for each way; the same command goes on where it
stopped. Training and answers are those of the commands `train --seeds` and `infer --seeds`.

A processor without AVX-512 computes by other kernels, whose sums differ in the last bits; so the
same seed trains another docent. With `avx2` PyTorch, oneDNN and MKL take their AVX2 kernels on any
processor that has these instructions. What such a processor decides besides, as how large a block
fits its cache, or which way MKL goes on another maker's, is that of the machine it runs on. AVX2
has no instructions for bfloat16: `avx2_bf16` computes without, and takes an hour and more.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from measurement import Measurement

from musequest.book.walks import SCORES, TRACK, seed_scores
from musequest.core.home import collection_dir, root
from musequest.core.settings import load_profile
from musequest.creation.split import check_dataset
from musequest.evaluation import evaluate, load_results
from musequest.finetuning.distributed import python
from musequest.systems.registry import on_track

AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
AVX2 |= {"MKL_ENABLE_INSTRUCTIONS": "AVX2"}
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
# Way -> variables, options of `train`, seeds.
WAYS: dict[str, tuple[dict[str, str], list[str], int]] = {
    "avx2": (AVX2, [], 5),
    "avx2_one_thread": (AVX2 | ONE_THREAD, [], 1),
    "one_thread": (ONE_THREAD, [], 1),
    "bf16": ({}, ["--set", "bf16=true"], 1),
    "avx2_bf16": (AVX2, ["--set", "bf16=true"], 1),
}
KERNELS = "import torch; print(torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())"


def main() -> None:
    """Train, answer, score, print, and keep the record."""
    measurement = Measurement(__doc__, "processors")
    parser = measurement.parser
    parser.add_argument("folder", type=Path, help="where the runs are kept")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[*WAYS])
    parser.add_argument("--profile", default=root() / "profiles/pocket.yaml", help="a YAML file")
    parser.add_argument("--approach", default="lora")
    chosen = parser.parse_args()
    collection = load_profile(chosen.profile).collection
    check_dataset(collection)
    data, ways = collection_dir(collection), {}
    for way in chosen.ways:
        home = chosen.folder.absolute() / way
        # Without what other kernels made of the photos.
        without = shutil.ignore_patterns("vision")
        shutil.copytree(data, home / "data" / collection, ignore=without, dirs_exist_ok=True)
        own = shutil.copy(chosen.profile, home / f"{way}.yaml")
        os.environ["MUSEQUEST_HOME"] = str(home)
        ways[way] = learned(Path(own), chosen.approach, *WAYS[way])
    figures = {"approach": chosen.approach, "track": TRACK, "ways": ways}
    measurement.tell(figures, chosen.record)


def learned(
    profile: Path, approach: str, variables: dict[str, str], settings: list[str], seeds: int
) -> dict[str, Any]:
    """Train and answer in processes with these variables; the kernels, and each seed's scores."""
    kernels, threads = _python(variables, "-c", KERNELS).split()
    asked = ["--profile", str(profile), "--approach", approach, "--seeds", str(seeds)]
    _python(variables, "-m", "musequest", "train", *asked, *settings)
    _python(variables, "-m", "musequest", "infer", *asked)
    own = load_profile(profile)
    evaluate(own, seeds=seeds)
    means = on_track(load_results(own).scores, TRACK).groupby("model")[[*SCORES]].mean().round(4)
    return {
        "kernels": kernels,
        "threads": int(threads),
        "seeds": dict(seed_scores(own, approach, means)),
    }


def _python(variables: dict[str, str], *arguments: str) -> str:
    """What a process prints; one that fails says why on the screen, and ends this one too."""
    done = subprocess.run(
        [python(), *arguments], env=os.environ | variables, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    main()
