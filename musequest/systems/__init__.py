"""The systems that are compared, and how each comes to its answers.

    answer(profile, "rag")                    the questions of the evaluation split
    answer(profile, "lora", "blank_photo")    the same, with a photo that shows nothing
    ablate(profile)                           every local system under every condition
    ask(profile, "photo.jpg", "What is it?")  a photo of your own

`base` and the tuned models answer by themselves (`finetuning.generation`), `gpt4o` is asked over
the network (`hosted`), `retrieval` and `rag` look up the nearest training photo (`retrieval`,
`photo_index`); the `gate` says whether it shows an exhibit at all. A system is a class derived from
`System` in a file of this folder, with a `name`, that turns rows of the dataset into answers. What
becomes of the answers, whether they are there already, and which photos are shown is not its
business (`predictions`, `answering`, `conditions`).
"""

from ..core import public

__getattr__, __dir__, __all__ = public(
    __name__,
    {
        "answering": [
            "System",
            "ablate",
            "answer",
            "answer_all",
            "answer_if_possible",
            "answers_dir",
            "ask",
            "open_system",
        ],
        "gate": ["Gate", "Recognition", "open_gate"],
        "conditions": ["outsider_rows", "outsiders_folder", "rows_under"],
    },
)
