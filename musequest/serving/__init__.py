"""A trained docent at work: asked about a photo, it answers and shows where it knows that from.

In: a finished run, or another system, and the collection it is about. `sources` finds the catalogue
sentences that bear an answer out, `desk` is the page on which a curator reviews what is learned,
`server` the page for visitors, over the `web` base that both stand on.
"""

from ..lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    {
        "desk": ["open_desk"],
        "server": ["DocentPages", "serve"],
        "sources": ["Entry", "Sentence"],
    },
)
