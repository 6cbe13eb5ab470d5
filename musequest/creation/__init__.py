"""Stage 1, synthetic data creation: exhibits become photos, dialogs and a dataset of three splits.

    from musequest.creation import augment, build_dataset, synthesize

In: a folder of photos and exhibits.csv, or a museum on the internet. Out:
data/<collection>/dataset/, which `datasets.load_dataset` reads. Start reading at `dataset`, which
says what a row is.

In the order of a run: `exhibits` reads and checks a museum's folder, `museums` fills one from the
internet, `augmentation` fills photos up to 15 an exhibit, `dialogs` has a writer (`offline_writer`,
or `hosted`) compose 15 pairs an exhibit, `review` keeps a curator's word on them and `flags` says
what to look at, `dataset` joins photos and pairs by the rule of `split` and looks for leaks,
`publishing` tells what came of it in a card, and hands it on. `imported` takes in a dataset made
elsewhere; `stage` does what a profile says.
"""

from ..core import public

__getattr__, __dir__, __all__ = public(
    __name__,
    {
        "augmentation": ["augment"],
        "dataset": ["audit", "build_dataset", "split_table"],
        "dialogs": ["synthesize"],
        "exhibits": ["collect_folder", "load_exhibits"],
        "imported": ["collect_dataset"],
        "museums": ["collect_museum", "missing_exhibits"],
        "museums.records": ["published_catalogue"],
        "publishing": ["push_to_hub"],
        "review": ["check_learned", "withheld"],
        "split": ["fingerprint", "load_split"],
        "stage": ["check_reach", "collect", "cost_of", "sample", "within_reach", "writer_of"],
    },
)
