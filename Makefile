# A thin front: meson and the scripts of tools/ do the work. CONTRIBUTING.md says what each target does.
MAKEFLAGS += --no-print-directory
BUILD ?= build
PREFIX ?= /usr/local
export BUILD

.DEFAULT_GOAL := build
.PHONY: build run test conformance bench torture lint format sanitize models fuzz cross python install clean

build:
	@tools/setup build
	@tools/build $(BUILD)

# DIR=: the folders whose words are counted; PYTHON=: the interpreter of the second part
run: build
	@$(BUILD)/examples/wordcount --kill $(DIR)
	@tools/setup python
	@echo; echo "The same in Python, with multiprocessing's pool and with shoal's, on the sources of Python itself:"
	@PYTHONPATH="$$(tools/python $(BUILD) $(or $(PYTHON),/usr/bin/python3))" $(or $(PYTHON),/usr/bin/python3) examples/python/wordcount.py $(DIR)

# ONLY=: names of parts in tests/parts; PYTHON=: the interpreter whose package is tested. Another one than Debian's has its test packages
# from PyPI, in a virtual environment in $(BUILD)/tested
test:
	@tools/setup test $(if $(PYTHON),build,python)
	@tools/build $(BUILD)
	@PYTHON="$(PYTHON)" tools/run-tests test $(BUILD) $(ONLY)

# PYTHON=: whose own suite of multiprocessing runs against shoal; ONLY=: names, as 'fork.*Lock*'
conformance:
	@tools/setup build python
	@tools/build $(BUILD)
	@tests/conformance/run $(BUILD) $(or $(PYTHON),/usr/bin/python3) $(ONLY)

# ONLY=: rows whose name contains it; `$(BUILD)/bench/shoal-bench --list` shows the names. Without it, or with ONLY=python: the table
# of the Python package, too
bench:
	@tools/setup bench python
	@tools/build $(BUILD)
ifneq ($(ONLY),python)
	@$(BUILD)/bench/shoal-bench --json $(BUILD)/bench.json $(if $(ONLY),"$(ONLY)")
endif
ifneq ($(filter python,$(or $(ONLY),python)),)
	@PYTHONPATH="$$(tools/python $(BUILD) $(or $(PYTHON),/usr/bin/python3))" \
	    $(or $(PYTHON),/usr/bin/python3) bench/python/bench.py --json $(BUILD)/bench-python.json
endif

# KILLS=: how many processes the random campaign kills; ONLY=: steps or scenarios, see tools/torture
torture:
	@tools/setup test
	@tools/build $(BUILD)
	@KILLS="$(KILLS)" ONLY="$(ONLY)" tools/torture $(BUILD)

# ONLY=: names of steps
lint:
	@tools/setup lint
	@tools/lint $(ONLY)

format:
	@tools/setup lint
	@tools/format

sanitize:
	@tools/setup test
	@tools/sanitize

models:
	@tools/setup models
	@BUILD=$(BUILD)/models /usr/bin/python3 models/run $(ONLY)

# SECONDS=: how long each fuzzer runs
fuzz:
	@tools/setup fuzz
	@tools/fuzz $(or $(SECONDS),60)

cross:
	@tools/setup cross
	@tools/cross/run

# PYTHON=: for which interpreter; the folder that it prints is for PYTHONPATH
python:
	@tools/setup build $(if $(PYTHON),,python)
	@tools/python $(BUILD) $(or $(PYTHON),/usr/bin/python3)

# PREFIX=, and DESTDIR= for packagers
install:
	@tools/setup build
	@DESTDIR="$(DESTDIR)" tools/install "$(PREFIX)"

clean:
	rm -rf build
