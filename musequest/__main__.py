"""The commands, each one call of what the notebooks call too.

    python -m musequest collect folder DIR --collection NAME
    python -m musequest collect smithsonian | artic --collection NAME
    python -m musequest collect dataset SOURCE --collection NAME
    python -m musequest augment | synthesize | dataset --collection NAME
    python -m musequest synthesize --collection NAME --writer hosted --max-cost-usd 0.50
    python -m musequest push --collection NAME --repository OWNER/NAME --dry-run
    python -m musequest train | infer | merge --profile P --approach A
    python -m musequest ask --profile P --approach A --photo FILE --question "What is this?"
    python -m musequest score NAME=predictions.parquet ... --out DIR
    python -m musequest report --profile P
    python -m musequest preflight --profile P [--gpu NAME]
    python -m musequest publish --profile P --approach A --repo OWNER/NAME [--upload]
    python -m musequest demo --profile P [--longer]
    python -m musequest six | clean --profile P
    python -m musequest notebooks | readme

A command that fails prints one sentence and exits with 1; one stopped by Ctrl-C exits with 130.
"""

from __future__ import annotations

import argparse
import logging
import sys

from . import __version__
from .cli import book, creation, evaluation, finetuning
from .cli.options import exit_code

# Loggers of libraries that warn, whenever they are imported, of what nobody asked for.
LOUD = ("torchao", "torch.utils._pytree")


def main(arguments: list[str] | None = None) -> int:
    """Run one command as typed in a shell; returns its exit code."""
    chosen = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    for library in LOUD:
        logging.getLogger(library).setLevel(logging.ERROR)
    return exit_code(lambda: chosen.run(chosen))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m musequest", description="From a museum's photos and texts to a docent."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for stage in (creation, finetuning, evaluation, book):
        stage.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
