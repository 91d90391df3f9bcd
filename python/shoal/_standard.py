"""The standard library's own multiprocessing: its modules, and their code, to be run under shoal's name.

A module of the standard package takes from its package what stands beside it (`from . import util`). Run again as a module
of this package it takes what stands here: so what is replaced here is replaced for it too, in every version.
"""
import importlib
import importlib.machinery
import multiprocessing
import sys

__all__ = ["module", "keep", "code", "run"]

_path = list(multiprocessing.__path__)

#: The standard modules that were loaded when `multiprocessing` began to mean shoal (_replace.py); None before.
_kept = None


def module(name):
    """The standard module multiprocessing.<name> itself, whatever `multiprocessing` means by now."""
    if _kept is None:
        return importlib.import_module("multiprocessing." + name)
    if name not in _kept:
        raise ImportError("multiprocessing.%s is not among the modules that _standard.keep loads" % name)
    return _kept[name]


def keep():
    """Takes the standard modules out of sys.modules, so that their names can mean others."""
    global _kept
    if _kept is not None:
        return
    for name in "process util reduction context resource_tracker resource_sharer popen_fork connection".split():
        importlib.import_module("multiprocessing." + name)
    _kept = {}
    for name in list(sys.modules):
        if name.startswith("multiprocessing."):
            _kept[name.split(".", 1)[1]] = sys.modules.pop(name)
    del sys.modules["multiprocessing"]


def code(name):
    """The code object of the standard module multiprocessing.<name>."""
    path, full = _path, "multiprocessing"
    for part in name.split("."):
        full += "." + part
        spec = importlib.machinery.PathFinder.find_spec(full, path)
        if spec is None:
            raise ImportError("this interpreter has no %s" % full)
        path = spec.submodule_search_locations
    return spec.loader.get_code(full)


def run(name, into):
    """Runs multiprocessing.<name> in the dict `into`, that of the module shoal.<name>."""
    exec(code(name), into)
