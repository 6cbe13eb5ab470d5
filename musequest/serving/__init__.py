"""A trained docent at work: asked about a photo, it answers and shows where it knows that from.

    from musequest.serving import Guide

In: a finished run, or another system, and the collection it is about. `reading` reads what a
sentence states, `sources` finds the catalogue sentences that bear it out, and `guide` puts what is
recognised, the answer and its sources together. `server` is the page for visitors, `desk` the one
on which a curator reviews what is learned; both stand on the `web` base.
"""

from ..lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    {
        "desk": ["open_desk"],
        "guide": ["Answer", "Guide", "Question"],
        "server": ["DocentPages", "serve"],
        "sources": ["Entry", "Sentence"],
    },
)
