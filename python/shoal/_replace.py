"""`multiprocessing` means shoal: for programs that are run by `python -m shoal`, and in their children.

From install() on each import of multiprocessing, or of a module in it, gives shoal's: the very same module object under both
names. pycsp and pycsp.parallel give shoal.csp.
"""
import importlib
import importlib.machinery
import sys

from . import _standard

__all__ = ["NAMES", "install"]

#: What other names mean.
NAMES = {"multiprocessing": "shoal", "pycsp": "shoal.csp"}

installed = False


def _meaning(name):
    head, dot, rest = name.partition(".")
    if head not in NAMES:
        return None
    if head == "pycsp":
        return NAMES[head] if rest in ("", "parallel") else None
    return NAMES[head] + dot + rest


class _Finder:
    # A finder and a loader; not by importlib.abc, which takes half as long to import as all of this.
    def find_spec(self, name, path=None, target=None):
        meaning = _meaning(name)
        if meaning is None:
            return None
        import importlib.util

        if importlib.util.find_spec(meaning) is None:
            return None
        # A package where there is anything inside.
        return importlib.machinery.ModuleSpec(name, self, is_package="." not in name or meaning == "shoal.dummy")

    def create_module(self, spec):
        module = importlib.import_module(_meaning(spec.name))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module):
        # The import system has just given it the name under which it was asked for.
        spec = module.__spec__
        module.__spec__ = spec.loader_state


def install():
    """From now on, in this process and its children."""
    global installed
    if installed:
        return
    installed = True
    import shoal

    loaded = [name for name in sys.modules if name.startswith("multiprocessing.")]
    _standard.keep()
    sys.meta_path.insert(0, _Finder())
    sys.modules["multiprocessing"] = shoal
    for name in loaded:
        importlib.import_module(name)
