"""Pages and interfaces of a trained docent, served from this machine."""

from ..lazy import public

__getattr__, __dir__, __all__ = public(
    __name__, {"server": ["DocentPages", "serve"], "web": ["in_thread"]}
)
