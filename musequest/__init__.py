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
from .core.home import read_env, use_memory_well, wait_politely

__version__ = "0.1.0"

read_env()  # which may say how threads wait
wait_politely()
use_memory_well()
# bitsandbytes, which several libraries import, warns that a faster kernel for processors is not
# installed; nothing here needs it.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

__getattr__, __dir__, __all__ = public(
    __name__,
    {
        "book.display": ["display"],
        "creation.dataset": ["load_split"],
        "core.errors": ["MuseQuestError"],
        "core.home": ["collection_dir", "results_dir", "root", "run_dir"],
        "core.photos": ["prepared_photo"],
        "core.settings": ["load_approach", "load_profile", "suited", "training_settings"],
        "core.tables": ["read_table"],
    },
)

# For this version; the next one forgets them.
sys.meta_path.append(
    Moved(
        {
            "musequest.book.demo_record": "musequest.book.walks",
            "musequest.clean": "musequest clean",
            "musequest.cli": "musequest.core.command_line",
            "musequest.cli.commands": "musequest.core.command_line",
            "musequest.creation.artic": "musequest.creation.museums.artic",
            "musequest.creation.audit": "musequest.creation",
            "musequest.creation.auditing": "musequest.creation",
            "musequest.creation.card": "musequest.creation.publishing",
            "musequest.creation.catalogue": "musequest.creation",
            "musequest.creation.chosen": "musequest.creation",
            "musequest.creation.exhibit": "musequest.creation.exhibits",
            "musequest.creation.hosted.batch_writer": "musequest.creation.hosted",
            "musequest.creation.hosted.prices": "musequest.creation.hosted.requests",
            "musequest.creation.hosted.prompts": "musequest.creation.hosted.requests",
            "musequest.creation.museum_client": "musequest.creation.museums.client",
            "musequest.creation.museum_http": "musequest.creation.museums.http",
            "musequest.creation.museum_records": "musequest.creation.museums.records",
            "musequest.creation.smithsonian": "musequest.creation.museums.smithsonian",
            "musequest.creation.smithsonian_records": "musequest.creation.museums.smithsonian",
            "musequest.creation.texts": "musequest.text.sentences",
            "musequest.creation.writers": "musequest.creation.dialogs",
            "musequest.credentials": "musequest.core.errors",
            "musequest.digests": "musequest.core.files",
            "musequest.display": "musequest.book.display",
            "musequest.environment": "musequest.core.home",
            "musequest.errors": "musequest.core.errors",
            "musequest.evaluation.alt_texts": "musequest.evaluation",
            "musequest.evaluation.claims": "musequest.text.claims",
            "musequest.evaluation.encoder": "musequest.text.encoder",
            "musequest.evaluation.kept_scores": "musequest.evaluation.scores",
            "musequest.evaluation.metrics.registry": "musequest.evaluation.metrics",
            "musequest.evaluation.per_item_figure": "musequest.evaluation",
            "musequest.evaluation.rows": "musequest.evaluation",
            "musequest.evaluation.systems": "musequest.systems.registry",
            "musequest.files": "musequest.core.files",
            "musequest.finetuning.fsdp": "musequest.finetuning",
            "musequest.finetuning.launching": "musequest.finetuning",
            "musequest.finetuning.merging": "musequest.finetuning",
            "musequest.finetuning.model_info": "musequest.finetuning.anatomy",
            "musequest.finetuning.rank_process": "musequest.finetuning",
            "musequest.finetuning.trackers": "musequest.finetuning.callbacks",
            "musequest.finetuning.training_arguments": "musequest.core.training_arguments",
            "musequest.home": "musequest.core.home",
            "musequest.hub": "musequest.core.hub",
            "musequest.json_shapes": "musequest.core.json_shapes",
            "musequest.keys": "musequest.core.keys",
            "musequest.languages": "musequest.text.sentences",
            "musequest.lazy": "musequest.core",
            "musequest.locks": "musequest.core.files",
            "musequest.notebooks": "musequest demo",
            "musequest.numbers": "musequest.text.numbers",
            "musequest.photos": "musequest.core.photos",
            "musequest.pocket": "assets.workshop",
            "musequest.predictions": "musequest.core.predictions",
            "musequest.readme_figures": "musequest readme",
            "musequest.settings": "musequest.core.settings",
            "musequest.systems.system": "musequest.systems",
            "musequest.tables": "musequest.core.tables",
            "musequest.text.names": "musequest.text.facts",
            "musequest.training_arguments": "musequest.core.training_arguments",
        }
    )
)
