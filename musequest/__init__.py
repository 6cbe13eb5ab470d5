"""MuseQuest turns a museum's photos and texts into a docent, in three stages.

    from musequest import load_profile
    from musequest.finetuning import train

Here stands what all stages need. Each stage is a package, `creation`, `finetuning`, `evaluation`,
and so are `systems`, whatever answers a visitor, and `serving`, pages for visitors and curators.
They hand each other files (`tables`, `files`), in folders that `home` names, as `settings` say.
`text` is what all know of texts, `book` walks through the notebooks, `cli` holds the commands.
"""

import logging
import sys

from .home import read_env, use_memory_well, wait_politely
from .lazy import Moved, public

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
        "errors": ["MuseQuestError"],
        "home": ["collection_dir", "results_dir", "root", "run_dir"],
        "photos": ["prepared_photo"],
        "settings": ["load_approach", "load_profile", "suited", "training_settings"],
        "tables": ["read_table"],
    },
)

# For this version; the next one forgets them.
sys.meta_path.append(
    Moved(
        {
            "musequest.creation.audit": "musequest.creation",
            "musequest.creation.auditing": "musequest.creation",
            "musequest.creation.card": "musequest.creation.publishing",
            "musequest.creation.exhibit": "musequest.creation.exhibits",
            "musequest.creation.hosted.batch_writer": "musequest.creation.hosted",
            "musequest.creation.hosted.prices": "musequest.creation.hosted.requests",
            "musequest.creation.hosted.prompts": "musequest.creation.hosted.requests",
            "musequest.creation.smithsonian_records": "musequest.creation.smithsonian",
            "musequest.credentials": "musequest.errors",
            "musequest.digests": "musequest.files",
            "musequest.display": "musequest.book.display",
            "musequest.environment": "musequest.home",
            "musequest.evaluation.encoder": "musequest.text.encoder",
            "musequest.evaluation.metrics.registry": "musequest.evaluation.metrics",
            "musequest.evaluation.rows": "musequest.evaluation",
            "musequest.evaluation.systems": "musequest.systems.registry",
            "musequest.finetuning.fsdp": "musequest.finetuning",
            "musequest.finetuning.launching": "musequest.finetuning",
            "musequest.finetuning.rank_process": "musequest.finetuning",
            "musequest.finetuning.training_arguments": "musequest.training_arguments",
            "musequest.locks": "musequest.files",
            "musequest.numbers": "musequest.text.numbers",
            "musequest.systems.system": "musequest.systems",
            "musequest.text.names": "musequest.text.facts",
            "musequest.text.numerals": "musequest.text.numbers",
            "musequest.creation.catalogue": "musequest.creation",
            "musequest.creation.chosen": "musequest.creation",
            "musequest.creation.writers": "musequest.creation.dialogs",
            "musequest.pocket": "assets.workshop",
        }
    )
)
