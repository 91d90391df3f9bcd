"""Runs tests of the interpreter's own suite in this process, and says what became of each, line by line, in a file.

    suite.py list MODULE                     prints {"class": ["test", …], …} of the module's tests, as JSON
    suite.py run MODULE CLASS FILE TEST…     runs these tests of a class; FILE gets lines of JSON: [what, test, text]
"""
import importlib
import json
import os
import sys
import unittest


def classes_of(module):
    found = {}
    loader = unittest.TestLoader()
    for name, value in sorted(vars(module).items()):
        # Imported ones are another module's.
        if isinstance(value, type) and issubclass(value, unittest.TestCase) and value.__module__ == module.__name__:
            tests = loader.getTestCaseNames(value)
            if tests:
                found[name] = list(tests)
    return found


class Result(unittest.TestResult):
    """Writes what happens as it happens."""

    def __init__(self, path):
        super().__init__()
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.pid = os.getpid()
        self.wrong = []

    def tell(self, what, test, text=""):
        if os.getpid() == self.pid:  # not in a fork of a test's
            os.write(self.fd, (json.dumps([what, getattr(test, "_testMethodName", str(test)), text]) + "\n").encode())

    def startTest(self, test):
        super().startTest(test)
        self.wrong, self.skip = [], None
        self.tell("start", test)

    def stopTest(self, test):
        super().stopTest(test)
        if self.wrong:
            self.tell("failed", test, "\n".join(self.wrong))
        elif self.skip is not None:
            self.tell("skipped", test, self.skip)
        else:
            self.tell("passed", test)
        sys.stdout.flush()

    def _add_wrong(self, test, error):
        text = self._exc_info_to_string(error, test)
        print(text, file=sys.stderr, flush=True)
        if isinstance(test, unittest.TestCase):
            self.wrong.append(text)
        else:  # setUpClass or setUpModule
            self.tell("failed", test, text)

    def addError(self, test, error):
        super().addError(test, error)
        self._add_wrong(test, error)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self._add_wrong(test, error)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self._add_wrong(test, error)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.wrong.append("passed, though the suite expects it to fail")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.skip = reason
        if not isinstance(test, unittest.TestCase):
            self.tell("skipped all", test, reason)


def main(verb, name, *rest):
    try:
        module = importlib.import_module(name)
    except unittest.SkipTest as skip:
        print(json.dumps({"": str(skip)}))
        return
    if verb == "list":
        print(json.dumps(classes_of(module)))
        return
    case = getattr(module, rest[0])
    unittest.TestSuite([unittest.TestSuite(case(test) for test in rest[2:])]).run(Result(rest[1]))


if __name__ == "__main__":
    import faulthandler
    import signal

    import multiprocessing

    if multiprocessing.__name__ != "shoal":
        sys.exit("multiprocessing is not shoal")
    faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False)
    main(*sys.argv[1:])
