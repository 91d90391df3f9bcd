"""Starting by a fresh interpreter: the standard library's module, run here, but that the child runs shoal's."""
import os

from . import _replace, _standard

_standard.run("spawn", globals())

_folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_standard_command_line = get_command_line  # noqa: F821
_standard_main = _main  # noqa: F821


def get_command_line(**kwds):
    """The command line of a child. It finds shoal where its parent did, if not by itself."""
    line = _standard_command_line(**kwds)
    if "-c" in line:
        at = line.index("-c") + 1
        line[at] = program("spawn", line[at].split("; ", 1)[1])
    return line


def program(module, call):
    """The text of a program that makes a call of a function of a module of shoal's."""
    return (
        "import importlib.util, sys; "
        "importlib.util.find_spec('shoal') or sys.path.append(%r); "
        "from shoal import _replace; %s"
        "from shoal.%s import %s; %s"
        % (_folder, "_replace.install(); " * _replace.installed, module, call.split("(", 1)[0], call)
    )


def _main(fd, parent_sentinel):
    """The child's beginning: reads what it is to do, gives up what of its parent's was not meant for it, does it."""
    from . import _shoal

    with os.fdopen(fd, "rb", closefd=True) as from_parent:
        process.current_process()._inheriting = True  # noqa: F821
        try:
            prepare(reduction.pickle.load(from_parent))  # noqa: F821
            self = reduction.pickle.load(from_parent)  # noqa: F821
            _shoal.release_unopened()
        finally:
            del process.current_process()._inheriting  # noqa: F821
    os.close(parent_sentinel)
    code = 1
    try:
        code = self._bootstrap(_shoal.parent_sentinel())
    finally:
        _leave(code)


def _leave(code):
    """The end of a program that a start method began: its exit handlers run, as at any normal end."""
    raise SystemExit(code)
