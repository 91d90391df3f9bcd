"""python -m shoal: runs a program with multiprocessing replaced by shoal, in its children too.

    python -m shoal script.py …        python -m shoal -m module …        python -m shoal -c text …
    python -m shoal inspect PID        shows a running family
"""
import os
import sys
import types

from shoal import _replace

__all__ = ["main"]


def _new_main(file=None):
    """A module __main__ for the program, in place of this one."""
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=__builtins__, __spec__=None, __package__=None)
    if file is not None:
        main.__file__ = file
        main.__cached__ = None
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    return main.__dict__


def _run_script(path):
    if os.path.isdir(path) or path.endswith((".zip", ".pyz")):
        import runpy

        # As the interpreter does it: the folder, or archive, stands where a script's folder would.
        sys.path[0:0 if sys.flags.isolated else 1] = [path]
        _new_main()
        return runpy._run_module_as_main("__main__", False)
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec")
    if not sys.flags.isolated:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    exec(code, _new_main(path))


def _run_module(name):
    import runpy

    # It runs in what __main__ is.
    _new_main()
    runpy._run_module_as_main(name)


def _usage(file=sys.stderr):
    print(__doc__.strip(), file=file)


def main(words):
    if not words:
        _usage()
        return 2
    word, rest = words[0], words[1:]
    if word in ("-h", "--help"):
        _usage(sys.stdout)
        return 0
    if word == "inspect":
        from shoal import _inspect

        return _inspect.main(rest)
    if word in ("-m", "-c") and not rest:
        print("python -m shoal: %s wants one more word" % word, file=sys.stderr)
        return 2
    if word.startswith("-") and word not in ("-m", "-c"):
        print("python -m shoal: no such option: %s" % word, file=sys.stderr)
        return 2
    if word not in ("-m", "-c") and not os.path.exists(word):
        print("python -m shoal: there is no file %r" % word, file=sys.stderr)
        return 2
    _replace.install()
    if word == "-m":
        sys.argv[:] = rest
        _run_module(rest[0])
    elif word == "-c":
        sys.argv[:] = ["-c"] + rest[1:]
        exec(compile(rest[0], "<string>", "exec"), _new_main())
    else:
        sys.argv[:] = words
        _run_script(word)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
