"""What README.md and examples/python show runs, and says what they say it does."""
import os
import re
import subprocess
import sys

import pytest

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), *[".."] * 3)
BUILD = os.environ.get("BUILD") or os.path.join(TOP, "build")


def run(*words):
    return subprocess.run([sys.executable, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=100, env=dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))))


def test_readmes_example(tmp_path):
    with open(os.path.join(TOP, "README.md")) as file:
        readme = file.read()
    (text,) = re.findall(r"^```python\n(.*?)^```$", readme, re.M | re.S)
    (said,) = re.findall(r"^    (hog\.py:\d+: OwnerDiedWarning: .*)$", readme, re.M)
    script = tmp_path / "hog.py"
    script.write_text(text)
    done = run(str(script))
    assert done.returncode == 0 and done.stdout == "it goes on\n", done
    assert re.search(re.sub(r"\\\(pid\\ \d+\\\)", r"\\(pid \\d+\\)", re.escape(said)), done.stderr), done.stderr


def test_a_c_program_sums_what_python_puts_into_a_queue():
    worker = os.path.join(BUILD, "examples", "python_worker")
    if not os.path.exists(worker):
        pytest.skip("there is no " + worker)
    done = run(os.path.join(TOP, "examples", "python", "with_c.py"), worker)
    assert done.returncode == 0 and done.stderr == "", done
    assert done.stdout.splitlines() == ["%s = %g" % (" + ".join(map(str, range(n + 1))), n * (n + 1) / 2) for n in range(1, 6)]
