"""Children on Windows: the standard library's module, run here, which ends in the ImportError that it has on Linux, too."""
from . import _standard

_standard.run("popen_spawn_win32", globals())
