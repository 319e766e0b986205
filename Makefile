# Thin: every target is one command or two. What exists is listed by `make help`.
EXAM_DIR ?= ../shared/exam
EXAM_ARGS ?=
# Debian's own: the exam needs its python3-yaml and python3-h2, whatever python3 stands first in PATH.
PYTHON = /usr/bin/python3
SECONDS ?= 60
RATE ?= 2000
JOBS ?= $(shell nproc)
packages = ./cmake/install-packages.sh
# A clean environment for tests that start programs: nothing of the caller's proxies or locale.
ctest = env -u http_proxy -u https_proxy ctest --output-on-failure --no-tests=error

.PHONY: help demo test build install package bench soak asan tsan fuzz headers layers exam exam-ratchet clean
help:
	@echo "make demo | test | build | install | package | bench | soak SECONDS=60 RATE=2000 | asan | tsan | fuzz SECONDS=60 | headers | layers | exam | exam-ratchet | clean"

build:
	@$(packages) build test
	@cmake --preset release >build.log 2>&1 || { cat build.log; exit 1; }
	@rm -f build.log
	@cmake --build build -j $(JOBS)

demo:
	@$(packages) build test
	@$(MAKE) --no-print-directory build
	@build/bin/sluice demo

test: build
	@cd build && $(ctest) -j $(JOBS)

install: build
	cmake --install build

asan:
	@$(packages) build test
	@cmake --preset asan >/dev/null && cmake --build build-asan -j $(JOBS)
	@cd build-asan && $(ctest) -j $(JOBS)

tsan:
	@$(packages) build test
	@cmake --preset tsan >/dev/null && cmake --build build-tsan -j $(JOBS) --target test_net test_config test_stats test_log test_upstream
	@cd build-tsan && $(ctest) -j $(JOBS) -R '^(net|config|stats|log|upstream)\.'

fuzz:
	@$(packages) build test
	@cmake --preset fuzz >/dev/null && cmake --build build-fuzz -j $(JOBS) --target fuzzers
	@./cmake/fuzz.sh build-fuzz $(SECONDS)

headers:
	@$(packages) build
	@./cmake/headers.sh

layers:
	@$(PYTHON) cmake/layers.py

exam: build
	@if [ -d $(EXAM_DIR) ]; then $(PYTHON) $(EXAM_DIR)/all.py --bin $(CURDIR)/build/bin $(EXAM_ARGS); else echo "exam: 0 of N run, no exam folder"; fi

exam-ratchet: build
	@./cmake/exam-ratchet.sh $(EXAM_DIR)

bench: build
	@$(packages) bench
	@./bench/run.sh

# SECONDS is the length of the swaps under load; the whole takes about a minute more.
soak: build
	@SLUICE_BIN=$(CURDIR)/build/bin SOAK_SECONDS=$(SECONDS) SOAK_RATE=$(RATE) $(PYTHON) -B tests/soak.py

package:
	@echo "make $@: not built yet (CHANGELOG.md says what is)" >&2; exit 1

clean:
	rm -rf build build-asan build-tsan build-fuzz build-debug
