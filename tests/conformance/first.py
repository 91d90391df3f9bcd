"""Imported at the start of each interpreter of the virtual environment: `multiprocessing` means shoal from its first import on.

Not before, as there is a test that looks whether it has been imported.
"""
import sys


class First:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ("multiprocessing", "pycsp"):
            return None
        sys.meta_path.remove(self)
        if "shoal" in sys.modules:  # it is being imported, by a child's program, which then says what shall mean what
            return None
        import shoal._replace

        shoal._replace.install()
        del sys.modules["multiprocessing"]  # or the import that is under way would take its spec, and load shoal again
        return sys.meta_path[0].find_spec(name, path)


sys.meta_path.insert(0, First())
