"""The commands, each one call of what the notebooks call too.

    python -m musequest collect folder DIR --collection NAME
    python -m musequest collect smithsonian | artic --collection NAME
    python -m musequest collect dataset SOURCE --collection NAME
    python -m musequest augment | synthesize | dataset --collection NAME
    python -m musequest synthesize --collection NAME --writer hosted --max-cost-usd 0.50
    python -m musequest push --collection NAME --repository OWNER/NAME --dry-run
    python -m musequest train | infer --profile P --approach A
    python -m musequest score NAME=predictions.parquet ... --out DIR
    python -m musequest report --profile P

A command that fails prints one sentence and exits with 1; one stopped by Ctrl-C exits with 130.
"""

# Each command imports its stage itself, so that none waits for the libraries of another.

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from . import __version__
from .arguments import add_command
from .creation import commands as creation
from .errors import MuseQuestError


def train(chosen: argparse.Namespace) -> None:
    """Tune the profile's model with one approach."""
    from .finetuning.training import train as run
    from .keys import check_keys
    from .settings import load_profile, profile_keys, training_keys

    typed = _assignments(chosen.set, "--set")
    check_keys(typed, profile_keys() | training_keys(), "--set")
    trained = {key: value for key, value in typed.items() if key in training_keys()}
    rest = {key: value for key, value in typed.items() if key not in trained}
    record = run(load_profile(chosen.profile, rest), chosen.approach, trained, fresh=chosen.fresh)
    print(json.dumps(record, indent=2))


def infer(chosen: argparse.Namespace) -> None:
    """Answer the test questions with the tuned or the base model."""
    from .finetuning.generation import infer as run
    from .settings import load_profile

    profile = load_profile(chosen.profile, _assignments(chosen.set, "--set"))
    print(f"{len(run(profile, chosen.approach))} questions are answered by '{chosen.approach}'.")


def score(chosen: argparse.Namespace) -> None:
    """Score the answers of any systems on the questions they share."""
    from .evaluation.scoring import score as run

    predictions = _assignments(chosen.predictions, "predictions")
    paths = {name: Path(path) for name, path in predictions.items()}
    print(json.dumps(run(paths, chosen.exhibits, chosen.out), indent=2))


def report(chosen: argparse.Namespace) -> None:
    """Score all systems of a profile and write its report."""
    from .evaluation.report import build_report
    from .evaluation.scoring import evaluate

    evaluate(chosen.profile)
    print(build_report(chosen.profile))


def main(arguments: list[str] | None = None) -> int:
    """Run one command as typed in a shell; returns its exit code."""
    chosen = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    try:
        chosen.run(chosen)
    except MuseQuestError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; what was finished is kept, the same command goes on.", file=sys.stderr)
        return 130
    return 0


def _assignments(texts: list[str], option: str) -> dict[str, str]:
    """NAME=VALUE texts as a dict; MuseQuestError at one without '=' or a name that comes twice."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not (name and sign and value):
            raise MuseQuestError(f"{option}: {text!r} has not the form NAME=VALUE; write it so.")
        if name in pairs:
            raise MuseQuestError(f"{option}: '{name}' is given twice; keep one of them.")
        pairs[name] = value
    return pairs


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m musequest", description="From a museum's photos and texts to a docent."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    creation.add_commands(commands)
    _add_finetuning(commands)
    _add_evaluation(commands)
    return parser


def _add_finetuning(commands: argparse._SubParsersAction) -> None:
    command = add_command(commands, train)
    _add_profile(command)
    command.add_argument("--approach", default="lora", help="how to tune (default: lora)")
    command.add_argument("--fresh", action="store_true", help="discard an earlier run")
    _add_set(command, "a key of TrainingArguments or of the profile")
    command = add_command(commands, infer)
    _add_profile(command)
    command.add_argument("--approach", default="lora", help="whose weights, or base")
    _add_set(command, "a key of the profile")


def _add_evaluation(commands: argparse._SubParsersAction) -> None:
    command = add_command(commands, score)
    command.add_argument("predictions", nargs="+", metavar="NAME=FILE", help="a system's answers")
    command.add_argument("--exhibits", type=Path, help="exhibits.parquet, for facts and names")
    command.add_argument("--out", type=Path, required=True, help="folder for the scores")
    _add_profile(add_command(commands, report))


def _add_profile(command: argparse.ArgumentParser) -> None:
    command.add_argument("--profile", required=True, help="a name in profiles/ or a YAML file")


def _add_set(command: argparse.ArgumentParser, meaning: str) -> None:
    command.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=meaning
    )


if __name__ == "__main__":
    sys.exit(main())
