"""The same API with threads: the standard library's module, run here."""
from .. import _standard

_standard.run("dummy", globals())
