"""python -m shoal: a program as it is, with multiprocessing replaced, in its children too."""
import os
import signal
import subprocess
import sys
import time

import pytest

import shoal

METHODS = ["fork", "spawn", "forkserver"]

PROGRAM = """
import multiprocessing, multiprocessing.synchronize, sys, pickle
from multiprocessing import Process, Event
import concurrent.futures

class Mine:
    def __init__(self, value):
        self.value = value

def child(event, mine, main):
    import multiprocessing.process
    assert multiprocessing.__name__ == "shoal", multiprocessing
    assert type(event).__module__ == "shoal.synchronize", type(event)
    assert type(mine) is Mine and mine.value == 42
    assert sys.argv[1:] == ["one", "two words"], sys.argv
    event.set()

if __name__ == "__main__":
    assert multiprocessing.__name__ == "shoal"
    multiprocessing.set_start_method("METHOD")
    event = Event()
    process = Process(target=child, args=(event, Mine(42), __name__))
    process.start()
    process.join()
    assert process.exitcode == 0 and event.is_set(), process
    assert pickle.loads(pickle.dumps(Mine(1))).value == 1
    print("fine", sys.argv[1:], __name__, flush=True)
    sys.exit(5)
"""


def run(*words, status=0, cwd=None, isolated=False):
    path = os.pathsep.join(part for part in sys.path if part)
    done = subprocess.run([sys.executable, "-m", "shoal", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=100, cwd=cwd, env=dict(os.environ, PYTHONPATH=path))
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done


@pytest.mark.parametrize("method", METHODS)
def test_a_script_with_its_children(method, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.replace("METHOD", method))
    done = run(str(script), "one", "two words", status=5)
    assert done.stdout == "fine ['one', 'two words'] __main__\n"
    assert done.stderr == ""


@pytest.mark.parametrize("method", METHODS)
def test_a_module_with_its_children(method, tmp_path):
    package = tmp_path / "a_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "program.py").write_text(PROGRAM.replace("METHOD", method))
    done = run("-m", "a_package.program", "one", "two words", status=5, cwd=tmp_path)
    assert done.stdout == "fine ['one', 'two words'] __main__\n"


def test_a_folder_and_a_zip_with_a_main(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "__main__.py").write_text("import multiprocessing, beside\nprint(multiprocessing.__name__, beside.x)\n")
    (folder / "beside.py").write_text("x = 7\n")
    assert run(str(folder)).stdout == "shoal 7\n"
    import shutil

    archive = shutil.make_archive(str(tmp_path / "archive"), "zip", str(folder))
    assert run(archive).stdout == "shoal 7\n"


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_text_with_its_children(method):
    text = ("import multiprocessing as m, sys, time; m.set_start_method(%r); p = m.Process(target=time.sleep, args=(0,)); "
            "p.start(); p.join(); print(m.__name__, p.exitcode, sys.argv)" % method)
    assert run("-c", text, "a", "b").stdout == "shoal 0 ['-c', 'a', 'b']\n"


def test_what_stands_beside_a_script_can_be_imported(tmp_path):
    (tmp_path / "beside_it.py").write_text("x = 3\n")
    (tmp_path / "script.py").write_text("import beside_it, sys\nprint(beside_it.x, __file__, sys.argv)\n")
    path = str(tmp_path / "script.py")
    assert run(path).stdout == "3 %s ['%s']\n" % (path, path)


def test_tracebacks_and_statuses_are_the_programs(tmp_path):
    script = tmp_path / "wrong.py"
    script.write_text("def f():\n    raise ValueError('on purpose')\nf()\n")
    done = run(str(script), status=1)
    assert "wrong.py\", line 2, in f" in done.stderr and "ValueError: on purpose" in done.stderr
    done = run("-c", "import sys; sys.exit('a reason')", status=1)
    assert "a reason" in done.stderr
    script.write_text("1 +\n")
    assert "SyntaxError" in run(str(script), status=1).stderr
    script.write_text("import os, signal; os.kill(os.getpid(), signal.SIGTERM)\n")
    run(str(script), status=-signal.SIGTERM)


def test_wrong_words_are_told():
    for words in ((), ("-x",), ("-m",), ("-c",), ("/no/such/file.py",), ("inspect",), ("inspect", "x")):
        done = run(*words, status=2)
        assert done.stderr and "Traceback" not in done.stderr
    assert "python -m shoal" in run("--help").stdout
    assert "No module named" in run("-m", "no_such_module_at_all", status=1).stderr


def test_submodules_are_shoals_own_under_both_names():
    text = """
import multiprocessing.process, multiprocessing.synchronize, multiprocessing.context, multiprocessing.dummy.connection
import multiprocessing as m, shoal, shoal.synchronize, shoal.dummy, sys
assert m is shoal and m.synchronize is shoal.synchronize and m.dummy is shoal.dummy
assert sys.modules["multiprocessing.synchronize"] is shoal.synchronize
from multiprocessing.synchronize import Lock
assert Lock is shoal.synchronize.Lock
try:
    import multiprocessing.nothing
except ModuleNotFoundError as error:
    assert error.name == "multiprocessing.nothing", error.name
print("fine")
"""
    assert run("-c", text).stdout == "fine\n"


def test_importing_shoal_alone_changes_nothing():
    text = "import multiprocessing, shoal.synchronize, multiprocessing.synchronize as s; assert multiprocessing is not shoal; " \
           "assert s.Lock is not shoal.synchronize.Lock"
    subprocess.run([sys.executable, "-c", text], check=True, timeout=100,
                   env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)))


def test_logging_knows_the_process():
    text = """
import logging, multiprocessing, io
def f():
    logging.basicConfig(format="%(processName)s", force=True)
    logging.warning("x")
p = multiprocessing.Process(target=f, name="Somebody")
p.start(); p.join()
"""
    assert run("-c", text).stderr == "Somebody\n"


# ---- inspect ----


def hold(lock, event):
    with lock:
        event.set()
        time.sleep(1000)


def test_inspect_shows_a_family_to_itself_and_to_others():
    lock, event = shoal.Lock(name="the till"), shoal.Event()
    child = shoal.Process(target=hold, args=(lock, event), name="cashier")
    child.start()
    assert event.wait(60)
    snapshot = shoal.inspect()
    assert set("processes objects waits deadlocks memory counters".split()) <= set(snapshot)
    assert any(p["name"] == "cashier" and p["pid"] == child.pid for p in snapshot["processes"])
    till = next(o for o in snapshot["objects"] if o["name"] == "the till")
    assert till["type"] == "lock" and till["locked"] and [o["pid"] for o in till["owners"]] == [child.pid]
    assert shoal.inspect(child.pid)["processes"]
    done = run("inspect", str(child.pid))
    assert "cashier" in done.stdout and "the till" in done.stdout
    assert "'the till'" in run("inspect", "--any", str(child.pid)).stdout
    child.kill()
    child.join()


def test_inspect_tells_what_is_wrong():
    with pytest.raises(OSError):
        shoal.inspect(2 ** 22 + 1)
    with pytest.raises(ValueError):
        shoal.inspect(-1)
    with pytest.raises(TypeError):
        shoal.inspect("x")
    sleeper = subprocess.Popen(["sleep", "100"])
    try:
        with pytest.raises(OSError):
            shoal.inspect(sleeper.pid)
        assert run("inspect", str(sleeper.pid), status=1).stderr.startswith("python -m shoal inspect: ")
    finally:
        sleeper.kill()
        sleeper.wait()


# ---- types ----


def test_the_stubs_name_all_that_there_is():
    import ast

    folder = os.path.dirname(shoal.__file__)
    assert os.path.exists(os.path.join(folder, "py.typed"))
    with open(os.path.join(folder, "__init__.pyi")) as file:
        tree = ast.parse(file.read())
    named = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            named |= {alias.asname for alias in node.names if alias.asname}
        elif isinstance(node, ast.AnnAssign):
            named.add(node.target.id)
    assert set(shoal.__all__) <= named, set(shoal.__all__) - named
    assert all(hasattr(shoal, name) for name in named if not name.startswith("_"))
