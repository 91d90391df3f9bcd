"""Pipes between threads: the standard library's module, run here."""
from .. import _standard

_standard.run("dummy.connection", globals())
