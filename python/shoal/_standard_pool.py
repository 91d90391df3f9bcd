"""The standard library's module pool, run here: its ThreadPool."""
from . import _standard

_standard.run("pool", globals())
