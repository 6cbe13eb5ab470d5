"""The body of an answer, whatever its status, within bounds of size and time once unpacked."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator

import httpx

from .museum_faults import Again, NotFound

# Of one answer, from its first byte to its last.
LONGEST_ANSWER_SECONDS = 300.0
LARGEST_ANSWER_MIB = 64
LONGEST_BEGINNING_SECONDS = 10.0
PIECE_BYTES = 2**16
GZIP = 16 + zlib.MAX_WBITS


def pieces_of(response: httpx.Response) -> Iterator[bytes]:
    """The body in pieces of at most 64 KiB, as long as it stays within size and time."""
    size, until = 0, time.monotonic() + LONGEST_ANSWER_SECONDS
    for piece in _unpacked(response):
        size += len(piece)
        if size > LARGEST_ANSWER_MIB * 2**20:
            raise NotFound(f"{response.url.copy_with(query=None)} holds too much (the limit is "
                           f"{LARGEST_ANSWER_MIB} MiB).")  # fmt: skip
        if time.monotonic() > until:
            raise Again(f"not at its end after {LONGEST_ANSWER_SECONDS:g} s")
        yield piece


def beginning_of(response: httpx.Response) -> bytes:
    """The first 64 KiB of a body, or what of it comes in time; for answers that fail."""
    begun, until = b"", time.monotonic() + LONGEST_BEGINNING_SECONDS
    try:
        for piece in _unpacked(response):
            begun += piece
            if len(begun) >= PIECE_BYTES or time.monotonic() > until:
                break
    except (Again, NotFound, httpx.RequestError):
        pass  # what it says does not matter as much as that it failed
    return begun[:PIECE_BYTES]


def _unpacked(response: httpx.Response) -> Iterator[bytes]:
    """The body as it was before the server packed it, which it may do once, as gzip.

    httpx would unpack each piece it receives at once, to a thousand times its size and more, and as
    often as the server says.
    """
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding in ("", "identity"):
        yield from response.iter_raw(PIECE_BYTES)
        return
    if coding not in ("gzip", "x-gzip"):
        raise Again(f"the answer is packed as {coding[:40]!r}, unasked", damaged=True)
    unpacker = zlib.decompressobj(GZIP)
    try:
        for packed in response.iter_raw(PIECE_BYTES):
            while packed and not unpacker.eof:
                yield unpacker.decompress(packed, PIECE_BYTES)
                packed = unpacker.unconsumed_tail
    except zlib.error as error:
        raise Again(f"the answer cannot be unpacked ({error})", damaged=True) from None
    if not unpacker.eof:
        raise Again("the answer broke off")
