"""A trained docent at work: asked about a photo, it answers and shows where it knows that from.

    from musequest.serving import Guide, serve

In: a finished run, or another system, and the collection it is about. `reading` reads what a
sentence states, `sources` finds the catalogue sentences that bear it out, `guide` puts recognition,
answer and sources together, `words` are what is said beside these, by language; `server` is the
page on which visitors talk to it, in the format of `chat` and the line of `batching`, `desk` the
one on which a curator reviews what is learned. Both stand on `web`.
"""

from ..core import public

__getattr__, __dir__, __all__ = public(
    __name__,
    {
        "desk": ["open_desk"],
        "guide": ["Answer", "Guide", "Question"],
        "server": ["DocentPages", "serve"],
        "sources": ["Entry", "Sentence"],
        "web": ["in_thread"],
    },
)
