"""Starting by a fresh interpreter: the standard library's module, run here, but that the child runs shoal's."""
import os

from . import _replace, _standard

_standard.run("spawn", globals())

_folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_standard_command_line = get_command_line  # noqa: F821


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
        "import sys; sys.path.append(%r); "
        "from shoal import _replace; %s"
        "from shoal.%s import %s; %s"
        % (_folder, "_replace.install(); " * _replace.installed, module, call.split("(", 1)[0], call)
    )


def _main(fd, parent_sentinel=None, held=()):
    """The child's beginning: reads what it is to do, gives up what of its parent's was not meant for it, does it.

    fd: where that is to be read, closed in the end. held: what _shoal.hold has returned, to be given up, too. Returns
    the exit code.
    """
    from . import _shoal

    with os.fdopen(fd, "rb", closefd=True) as from_parent:
        process.current_process()._inheriting = True  # noqa: F821
        try:
            prepare(reduction.pickle.load(from_parent))  # noqa: F821
            self = reduction.pickle.load(from_parent)  # noqa: F821
        finally:
            del process.current_process()._inheriting  # noqa: F821
    _shoal.unhold(list(held))
    _shoal.release_unopened()
    if parent_sentinel is not None:
        os.close(parent_sentinel)  # the family knows better
    return self._bootstrap(_shoal.parent_sentinel())
