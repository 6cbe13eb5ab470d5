"""The commands of stage 2, from a dataset to a docent that answers, and their options."""

# Each command imports what it needs itself, so that none waits for the libraries of another.

from __future__ import annotations

import argparse
import json

from .options import (
    SERVER,
    add,
    add_profile,
    add_server,
    add_set,
    assignments,
    given,
    positive,
)


def train(chosen: argparse.Namespace) -> None:
    """Tune the profile's model with one approach."""
    from ..finetuning.distributed import rank
    from ..finetuning.training import train as run
    from ..keys import check_keys
    from ..settings import load_profile, profile_keys, training_keys

    typed = assignments(chosen.set, "--set")
    check_keys(typed, profile_keys() | training_keys(), "--set")
    trained = {key: value for key, value in typed.items() if key in training_keys()}
    rest = {key: value for key, value in typed.items() if key not in trained}
    profile = load_profile(chosen.profile, rest)
    options = {"processes": chosen.processes, "fresh": chosen.fresh}
    record = run(profile, chosen.approach, trained, **options)
    if rank() == 0:
        print(json.dumps(record, indent=2))


def infer(chosen: argparse.Namespace) -> None:
    """Answer the test questions with the base model, a tuned one or another system."""
    from ..settings import load_profile
    from ..systems import answer
    from ..systems.answering import answers_dir

    profile = load_profile(chosen.profile, assignments(chosen.set, "--set"))
    table = answer(profile, chosen.approach, chosen.condition, **given(chosen, SERVER))
    under = f" under '{chosen.condition}'" if chosen.condition else ""
    path = answers_dir(profile, chosen.approach, chosen.condition) / "predictions.parquet"
    print(f"{len(table)} questions are answered by '{chosen.approach}'{under}: {path}")


def ask(chosen: argparse.Namespace) -> None:
    """Ask the base model, a tuned one or another local system about a photo of your own."""
    from ..settings import load_profile
    from ..systems import ask as run

    profile = load_profile(chosen.profile, assignments(chosen.set, "--set"))
    answers = run(profile, chosen.photo, *chosen.question, system=chosen.approach)
    print("\n\n".join(answers))


def merge(chosen: argparse.Namespace) -> None:
    """Merge a finished run's adapter into the base model, and check that its answers stay."""
    from ..finetuning.merging import merge as run
    from ..settings import load_profile

    profile = load_profile(chosen.profile, assignments(chosen.set, "--set"))
    print(json.dumps(run(profile, chosen.approach, rows=chosen.rows), indent=2))


def preflight(chosen: argparse.Namespace) -> None:
    """Say what fits on which GPU, and what is missing, before anything is loaded."""
    from ..finetuning.preflight import preflight as run

    table, findings = run(chosen.profile, chosen.gpu)
    print(table.to_string(index=False))
    print("\n".join(findings))


def publish(chosen: argparse.Namespace) -> None:
    """Make the folder for the Hub with its model card; upload it only if asked to."""
    from ..finetuning.publishing import publish as run
    from ..finetuning.publishing import told

    options = {"merged": chosen.merged, "license_name": chosen.license, "upload": chosen.upload}
    folder = run(chosen.profile, chosen.approach, chosen.repo, private=not chosen.public, **options)
    if not chosen.upload:
        print(told(folder))
    done = "is uploaded to" if chosen.upload else "would be uploaded (add --upload) to"
    print(f"{folder} {done} {chosen.repo}.")


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the commands of stage 2 with their options."""
    command = add(commands, train)
    add_profile(command)
    command.add_argument("--approach", default="lora", help="how to tune (default: lora)")
    command.add_argument(
        "--processes",
        type=positive,
        metavar="N",
        help="of a parallel approach (default: one a GPU)",
    )
    command.add_argument("--fresh", action="store_true", help="discard an earlier run")
    add_set(command, "a key of TrainingArguments or of the profile")
    command = add(commands, infer)
    add_profile(command)
    command.add_argument("--approach", default="lora", help="or base, gpt4o, retrieval, rag")
    command.add_argument("--condition", help="blank_photo, wrong_photo, no_photo or outsiders")
    add_server(command, calls=16)
    add_set(command, "a key of the profile")
    command = add(commands, ask)
    add_profile(command)
    command.add_argument("--approach", default="lora", help="or base, retrieval, rag")
    command.add_argument("--photo", required=True, metavar="FILE", help="JPEG, PNG and the like")
    command.add_argument(
        "--question",
        action="append",
        default=[],
        metavar="Q",
        help="as often as wanted (default: What is this?)",
    )
    add_set(command, "a key of the profile")
    command = add(commands, merge)
    add_profile(command)
    command.add_argument("--approach", default="lora", help="whose adapter (default: lora)")
    command.add_argument("--rows", type=positive, default=4, help="to compare (default: 4)")
    add_set(command, "a key of the profile")
    _add_surroundings(commands)


def _add_surroundings(commands: argparse._SubParsersAction) -> None:
    command = add(commands, preflight)
    add_profile(command)
    command.add_argument("--gpu", metavar="NAME", help="a GPU's name, or its memory, as in 24GiB")
    command = add(commands, publish)
    add_profile(command)
    command.add_argument("--approach", default="lora", help="whose weights (default: lora)")
    command.add_argument("--repo", required=True, metavar="OWNER/NAME", help="on the Hub")
    command.add_argument("--merged", action="store_true", help="the merged model, not the adapter")
    command.add_argument("--license", metavar="L", help="of the model, as the Hub names licences")
    command.add_argument("--upload", action="store_true", help="upload, not only make the folder")
    command.add_argument("--public", action="store_true", help="for all to see, not only for you")
