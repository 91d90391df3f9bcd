# A thin front: meson and tools/ do the work.
MAKEFLAGS += --no-print-directory
BUILD ?= build
PREFIX ?= /usr/local

.DEFAULT_GOAL := build
.PHONY: build run test clean

build:
	@tools/setup build
	@tools/build $(BUILD)

run: build
	@$(BUILD)/examples/tour

test:
	@tools/setup test
	@tools/build $(BUILD)
	@tools/run-tests test $(BUILD) $(ONLY)

clean:
	rm -rf build
