"""Stage 2, fine-tuning: one base model, one training path, approaches that differ by settings only.

    from musequest.finetuning import train
    train("pocket", "lora")

In: data/<collection>/dataset/, a profile and an approach. Out: runs/<profile>/<approach>/ with
run.json, metrics.parquet and the adapter or model. Start reading at `training`, the road of every
run; `run_config` says what a run is asked, `strategies` builds the trainer and what several devices
change of it, `trainer` says how a step learns, `collator` what of a row is learned.
"""

from ..core import public

__getattr__, __dir__, __all__ = public(
    __name__,
    {
        "activations": ["empty_model"],
        "collator": ["DocentCollator", "coloured_tokens"],
        "anatomy": ["anatomy_of", "trainable_table"],
        "doctor": ["examine"],
        "distributed": ["processes_here", "train_rank"],
        "generation": ["infer"],
        "models": [
            "add_adapter",
            "free_projections",
            "load_model",
            "load_processor",
        ],
        "preflight": ["foresee"],
        "publishing": ["merge", "publish"],
        "records": ["finished_record"],
        "splitting": ["fullest_by_devices", "preview"],
        "strategies": ["plugin_settings"],
        "training": ["train", "train_seeds"],
    },
)
