"""Own types in what is recorded: see ``CodecRegistry``."""

from __future__ import annotations

from grctl.engine.codec import Codec, CodecRegistry

__all__ = ["Codec", "CodecRegistry"]
