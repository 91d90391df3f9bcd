"""Process objects: the standard library's, so that both packages agree on current_process() and the rest."""
import os
import threading

from . import _standard

_module = _standard.module("process")
__all__ = _module.__all__
globals().update((name, getattr(_module, name)) for name in __all__)


def __getattr__(name):
    # What changes (_children, _current_process …) is the standard module's.
    return getattr(_module, name)


_starting = threading.Lock()


def _renew():
    global _starting
    _starting = threading.Lock()


os.register_at_fork(after_in_child=_renew)


def _force_start_method(method):
    raise RuntimeError("shoal.context, which needs this module, replaces this")


_standard_bootstrap = _module.BaseProcess._bootstrap


class BaseProcess(_module.BaseProcess):
    """What shoal's processes have in common: in a child the start method is shoal's default, not the standard package's."""

    def start(self):
        """Starts the process. Daemons may, too: whoever is below a daemon ends with it."""
        config = _module._current_process._config
        if not config.get("daemon"):
            return super().start()
        with _starting:
            # The standard library's refuses a daemon, as its children would be nobody's when it is terminated.
            config["daemon"] = False
            try:
                super().start()
            finally:
                config["daemon"] = True

    def _bootstrap(self, parent_sentinel=None):
        # Here a fresh child begins: whatever it touches is a page to be copied. Afterwards it ends.
        method = self._start_method
        if method is not None:
            _force_start_method(method)
            self._start_method = None
        return _standard_bootstrap(self, parent_sentinel)

    def interrupt(self):
        """Sends it SIGINT: in its main thread KeyboardInterrupt is raised, unless it handles the signal otherwise."""
        self._check_closed()
        self._popen.interrupt()
