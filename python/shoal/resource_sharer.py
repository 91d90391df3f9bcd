"""The standard library's module itself: one of it serves both packages."""
import sys

from . import _standard

sys.modules[__name__] = _standard.module("resource_sharer")
