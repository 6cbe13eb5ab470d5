"""MuseQuest turns a museum's photos and texts into a docent, in three stages.

    from musequest import load_profile
    from musequest.finetuning import train

Each stage is a package, `creation`, `finetuning`, `evaluation`, and so are `systems`, whatever
answers a visitor, and `serving`, pages for visitors and curators. They hand each other files
(`core.tables`), in folders that `core.home` names, as `core.settings` say. `text` is what all know
of texts, `book` walks through the notebooks, and each package's `commands` are what one types.
"""

import logging
import sys

from .core import Moved, public
from .core.home import read_env, set_up_torch

__version__ = "0.1.0"

read_env()  # which may say how threads wait
set_up_torch()
# bitsandbytes, which several libraries import, warns that a faster kernel for processors is not
# installed; nothing here needs it.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

__getattr__, __dir__, __all__ = public(
    __name__,
    {
        "book.display": ["display"],
        "creation.split": ["load_split"],
        "core.errors": ["MuseQuestError"],
        "core.home": ["collection_dir", "results_dir", "root", "run_dir"],
        "core.photos": ["prepared_photo"],
        "core.settings": ["load_approach", "load_profile", "suited", "training_settings"],
        "core.tables": ["read_table"],
    },
)

# For this version; the next one forgets them. A star stands for the old module's own name.
_MOVED = {
    "assets.workshop": "pocket",
    "musequest clean": "clean",
    "musequest demo": "notebooks",
    "musequest readme": "readme_figures",
    "musequest.book.display": "display",
    "musequest.book.walks": "book.demo_record",
    "musequest.core": "lazy",
    "musequest.core.*": (
        "errors files finetuning.training_arguments home hub json_shapes keys photos predictions "
        "settings tables training_arguments"
    ),
    "musequest.core.command_line": "cli cli.commands",
    "musequest.core.errors": "credentials",
    "musequest.core.files": "digests locks",
    "musequest.core.home": "environment",
    "musequest.creation": "creation.audit creation.auditing creation.catalogue creation.chosen",
    "musequest.creation.dialogs": "creation.writers",
    "musequest.creation.exhibits": "creation.exhibit",
    "musequest.creation.hosted": "creation.hosted.batch_writer",
    "musequest.creation.hosted.requests": "creation.hosted.prices creation.hosted.prompts",
    "musequest.creation.museums.*": "creation.artic creation.smithsonian",
    "musequest.creation.museums.client": "creation.museum_client",
    "musequest.creation.museums.http": "creation.museum_http",
    "musequest.creation.museums.records": "creation.museum_records",
    "musequest.creation.museums.smithsonian": "creation.smithsonian_records",
    "musequest.creation.publishing": "creation.card",
    "musequest.evaluation": "evaluation.alt_texts evaluation.per_item_figure evaluation.rows",
    "musequest.evaluation.metrics": "evaluation.metrics.registry",
    "musequest.evaluation.scores": "evaluation.kept_scores",
    "musequest.finetuning": (
        "finetuning.fsdp finetuning.launching finetuning.merging finetuning.rank_process"
    ),
    "musequest.finetuning.anatomy": "finetuning.model_info",
    "musequest.finetuning.callbacks": "finetuning.trackers",
    "musequest.systems": "systems.system",
    "musequest.systems.registry": "evaluation.systems",
    "musequest.text.*": "evaluation.claims evaluation.encoder numbers",
    "musequest.text.facts": "text.names",
    "musequest.text.sentences": "creation.texts languages",
}
sys.meta_path.append(Moved(_MOVED))
