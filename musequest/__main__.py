"""The commands, each one call of what the notebooks call too.

    python -m musequest collect folder DIR --collection NAME
    python -m musequest collect smithsonian | artic --collection NAME
    python -m musequest collect dataset SOURCE --collection NAME
    python -m musequest augment | synthesize | dataset --collection NAME
    python -m musequest synthesize --collection NAME --writer hosted --max-cost-usd 0.50
    python -m musequest push --collection NAME --repository OWNER/NAME --dry-run
    python -m musequest train | infer | merge --profile P --approach A
    python -m musequest ask --profile P --approach A --photo FILE --question "What is this?"
    python -m musequest six --profile P
    python -m musequest score NAME=predictions.parquet ... --out DIR
    python -m musequest report --profile P
    python -m musequest preflight --profile P [--gpu NAME]
    python -m musequest publish --profile P --approach A --repo OWNER/NAME [--upload]

A command that fails prints one sentence and exits with 1; one stopped by Ctrl-C exits with 130.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import sys

from . import __version__
from .creation import commands as creation
from .errors import MuseQuestError
from .evaluation import commands as evaluation
from .finetuning import commands as finetuning


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
    except ModuleNotFoundError as error:
        if not _not_installed(error):
            raise
        print(
            f"The package '{error.name}' is not installed for {sys.executable}; switch on the "
            "environment of `make setup` (source .venv/bin/activate), or install what is needed "
            "(pip install -e .).",
            file=sys.stderr,
        )
        return 1
    return 0


def _not_installed(error: ModuleNotFoundError) -> bool:
    """Whether a package of others is absent as a whole; all else is a fault to be seen."""
    package = (error.name or "").partition(".")[0]
    return package not in ("", __package__) and importlib.util.find_spec(package) is None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m musequest", description="From a museum's photos and texts to a docent."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for stage in (creation, finetuning, evaluation):
        stage.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
