"""What the gate does and what strangers in training do: each alone, and both together.

    python benchmarks/gate.py             a quarter of an hour on two free cores
    python benchmarks/gate.py --record    and keep it in benchmarks/records/

The profile's docent is trained twice, on its dataset without strangers and with them. Base model,
tuned model, retrieval and RAG answer the test photos and the outsiders; each system is scored
without the gate and with it. Nothing but the strangers differs between the two.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from measurement import Measurement

from musequest.core.errors import MuseQuestError
from musequest.core.settings import Profile, load_profile
from musequest.creation import audit, augment, build_dataset, synthesize
from musequest.creation.stage import collect, writer_of
from musequest.evaluation.results import load_results
from musequest.evaluation.risk_coverage import gated
from musequest.evaluation.scoring import evaluate
from musequest.finetuning import train
from musequest.systems import answer
from musequest.systems.registry import OUTSIDERS

SYSTEMS = ("base", "retrieval", "rag")


def walk(profile: Profile, approach: str, training: dict[str, str]) -> dict[str, Any]:
    """From the museum's photos to the table of all systems, without and with the gate."""
    collect(profile)
    augment(profile.collection, seed=profile.seed, progress=False)
    synthesize(profile.collection, writer_of(profile), seed=profile.seed, progress=False)
    build_dataset(profile.collection, profile)
    audited = audit(profile.collection)
    train(profile, approach, training, progress=False)
    for name in (*SYSTEMS, approach):
        for condition in (None, OUTSIDERS):
            answer(profile, name, condition, progress=False)
    evaluate(profile)
    results = load_results(profile)
    calibration = dict(results.record["gate"])
    del calibration["made_for"]
    table = gated(results.scores, results.main_track).astype(object)
    return {
        "track": results.main_track,
        "outsiders": results.scores[results.scores.track == OUTSIDERS].data_id.nunique(),
        "calibration": calibration,
        "strangers": audited.get("strangers"),
        "systems": table.where(table.notna(), None).to_dict("records"),
    }


def main() -> None:
    """Measure, print, and keep the record."""
    measurement = Measurement(__doc__, "gate")
    parser = measurement.parser
    parser.add_argument("--profile", default="pocket")
    parser.add_argument("--approach", default="lora")
    parser.add_argument("--epochs", help="of the training, if not the profile's")
    chosen = parser.parse_args()
    profile = load_profile(chosen.profile)
    if profile.strangers is None:
        raise MuseQuestError(f"The profile '{profile.name}' names no strangers to compare with.")
    training = {"num_train_epochs": chosen.epochs} if chosen.epochs else {}
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["MUSEQUEST_HOME"] = str(Path(temporary))
        made = {}
        for word, folder in (("without", None), ("with", profile.strangers)):
            name = f"{profile.name}_{word}"
            own = replace(profile, name=name, collection=name, strangers=folder)
            made[word] = walk(own, chosen.approach, training)
    figures = {
        "profile": profile.name,
        "approach": chosen.approach,
        "track": made["with"]["track"],
        "outsiders": made["with"]["outsiders"],
        "calibration": made["with"]["calibration"],
        "strangers": made["with"]["strangers"],
        "without_and_with_strangers": {word: own["systems"] for word, own in made.items()},
    }
    measurement.tell(figures, chosen.record)


if __name__ == "__main__":
    main()
