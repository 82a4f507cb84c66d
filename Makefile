# qcodec: `make demo` runs the main job on a real optimizer state, `make compare` sets the presets beside other schemes,
# `make bench` measures speed beside other codecs and formats, `make resume-demo` trains on from stored states, `make
# delta-bench` measures checkpoints that refer to others. `make test` runs every test; `make corpus` damages checkpoints in
# 100,000 ways, `make faults` kills writers and has their calls fail, `make fuzz` and `make sanitize` look for what no test
# thought of, `make large` writes more than memory holds. All install what they need first: Debian packages through apt (as
# root or with sudo), Python packages into .build. Nothing else on the machine is touched.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:

PACKAGES := liblz4-dev libxxhash-dev libzstd-dev zlib1g-dev pkg-config python3-venv
# valgrind for the C tests, an emulated aarch64 for those of the kernels, a browser for the report's pages, readers of manuals
# and shells for the command's.
TEST_PACKAGES := $(PACKAGES) valgrind qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross chromium groff man-db zsh
BUILD := .build
VENV := $(BUILD)/venv
BENCH_VENV := $(BUILD)/venv-bench
WHEELS := $(BUILD)/wheels
QCODEC := $(BUILD)/release/qcodec
CORPUS := $(BUILD)/release/qcodec-corpus
LIBRARY := $(BUILD)/library/release/libcqcodec.so
STATIC := $(CURDIR)/$(BUILD)/static
PREFIX ?= /usr/local
VERSION := 0.1.0
STATE ?= $(wildcard Fixtures/real/*.safetensors)
CASES ?= 100000
SEED ?= 1

.PHONY: build man library install wheel package demo compare bench bench-smoke bounds-bench quality resume-demo optimizer-bench \
  optimizer-training delta-bench test test-build test-frameworks lint deps test-deps large clean fuzz-build fuzz fuzz-smoke \
  fuzz-coverage sanitize corpus faults docs

build: deps
	mkdir -p $(BUILD)
	swift build -c release --product qcodec 2>&1 | tee $(BUILD)/build.log
	if grep -E '(Sources|Tests)/.*warning:' $(BUILD)/build.log; then exit 1; fi

# The pages of the manual, from the command's own help: man -l .build/man/qcodec.1
man: build
	@python3 Sources/Manual/manual.py $(QCODEC) $(BUILD)/man
	ls $(BUILD)/man

deps:
	@missing=""
	for p in $(PACKAGES); do
	  dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$p"
	done
	if [ -n "$$missing" ]; then
	  sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo
	  echo "installing Debian packages:$$missing"
	  $$sudo apt-get update -qq
	  $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null
	fi
	command -v swift >/dev/null || { echo "swift 6.3 is not on PATH: see https://www.swift.org/install"; exit 1; }

test-deps:
	@$(MAKE) --no-print-directory deps PACKAGES="$(TEST_PACKAGES)"

# libcqcodec.so for other languages, and the command, each one file that needs nothing of Swift and no compression library.
# Where the linker would take shared libraries, packages of our own name the static ones.
define portable
PKG_CONFIG_PATH=$(STATIC) swift build -c release --product $(1) -Xswiftc -static-stdlib \
  --scratch-path $(BUILD)/library $(2) -Xlinker --gc-sections -Xlinker -s 2>&1 | tee $(BUILD)/library.log
if grep -E '(Sources|Tests)/.*warning:' $(BUILD)/library.log; then exit 1; fi
endef

library: deps
	@mkdir -p $(STATIC)
	for pair in liblz4:lz4 libxxhash:xxhash libzstd:zstd zlib:z; do
	  name=$${pair#*:}
	  archive=$$(cc -print-file-name=lib$$name.a)
	  [ -f "$$archive" ] || { echo "there is no lib$$name.a: libcqcodec.so is to be self-contained"; exit 1; }
	  ln -sf "$$archive" $(STATIC)/
	  printf 'Name: %s\nDescription: static\nVersion: 0\nLibs: -L%s -l%s\n' $$name $(STATIC) $$name \
	    >$(STATIC)/$${pair%:*}.pc
	done
	$(call portable,cqcodec,-Xlinker --version-script=Sources/CQCodec/exports.map)
	$(call portable,qcodec,)

# make install PREFIX=/usr: the header, the library, qcodec.pc, the command, its manual and what shells complete by. DESTDIR is
# for packagers.
install: library
	@prefix=$(DESTDIR)$(PREFIX)
	install -d $$prefix/include $$prefix/lib/pkgconfig $$prefix/bin
	install -m 644 Sources/CQCodec/include/*.h $$prefix/include/
	install -m 755 $(LIBRARY) $$prefix/lib/
	install -m 755 $(BUILD)/library/release/qcodec $$prefix/bin/
	python3 Sources/Manual/manual.py $$prefix/bin/qcodec $(BUILD)/man
	install -d $$prefix/share/man/man1
	install -m 644 $(BUILD)/man/*.1 $$prefix/share/man/man1/
	for place in bash:bash-completion/completions/qcodec zsh:zsh/site-functions/_qcodec \
	  fish:fish/vendor_completions.d/qcodec.fish; do
	  file=$$prefix/share/$${place#*:}
	  install -d $$(dirname $$file)
	  $$prefix/bin/qcodec --generate-completion-script $${place%%:*} >$$file
	  chmod 644 $$file
	done
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' Sources/CQCodec/qcodec.pc.in \
	  >$$prefix/lib/pkgconfig/qcodec.pc

# The build of torch without CUDA, which is far smaller, lies on PyTorch's own index unless a mirror has it; the other two
# would bring what they need on a GPU.
define install-torch
$(1)/bin/pip install -q --disable-pip-version-check torch==2.13.0+cpu \
  || $(1)/bin/pip install -q --disable-pip-version-check torch==2.13.0+cpu \
    --extra-index-url https://download.pytorch.org/whl/cpu \
  || $(1)/bin/pip install -q --disable-pip-version-check torch==2.13.0
$(1)/bin/pip install -q --disable-pip-version-check --no-deps bitsandbytes==0.50.2 torchao==0.18.0
endef

# A stamp beside the environment, so that an interrupted installation is done again.
$(VENV)/.complete: Tests/Python/requirements.txt Tests/Frameworks/requirements.txt Spec/Reference/requirements.txt
	@echo "installing Python packages into $(VENV)"
	rm -rf $(VENV)
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install -q --disable-pip-version-check -r Spec/Reference/requirements.txt -r Tests/Python/requirements.txt
	$(call install-torch,$(VENV))
	$(VENV)/bin/pip install -q --disable-pip-version-check -r Tests/Frameworks/requirements.txt
	touch $@

# The package for Python with libcqcodec.so and the command inside; needs nothing but NumPy where it is installed.
wheel: $(VENV)/.complete
	rm -rf $(WHEELS)
	env -u MAKEFLAGS $(VENV)/bin/pip wheel -q --disable-pip-version-check --no-deps -w $(WHEELS) ./Sources/PyQCodec
	ls -l $(WHEELS)

# Tests use the package as anyone would who installed it.
package: wheel
	$(VENV)/bin/pip install -q --disable-pip-version-check --no-deps --force-reinstall $(WHEELS)/*.whl

demo: build
	@mkdir -p $(BUILD)/demo
	for state in $(STATE); do
	  name=$$(basename $$state .safetensors)
	  out=$(BUILD)/demo/$$name
	  for policy in adam8 adam4 paper8 paper4 lossless; do
	    echo "== $$policy: $$state"
	    $(QCODEC) encode $$state -o $$out.$$policy.qckpt --policy $$policy
	    $(QCODEC) verify $$out.$$policy.qckpt --against $$state
	  done
	  $(QCODEC) inspect $$out.adam8.qckpt
	  $(QCODEC) decode $$out.adam8.qckpt -o $$out.decoded.safetensors
	  $(QCODEC) decode $$out.lossless.qckpt -o $$out.lossless.safetensors
	  ls -l $$state $$out.*
	done

# The update error of the presets and of bitsandbytes, torchao and lpmm: make compare STATE=file.safetensors
compare: build $(VENV)/.complete
	@for state in $(STATE); do
	  $(VENV)/bin/python Tests/Benchmarks/update_error.py $$state --qcodec $(QCODEC)
	done

# An environment of its own: what is compared with is not what tests need.
$(BENCH_VENV)/.complete: Tests/Benchmarks/requirements.txt
	@echo "installing Python packages into $(BENCH_VENV)"
	rm -rf $(BENCH_VENV)
	python3 -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/pip install -q --disable-pip-version-check -r Tests/Benchmarks/requirements.txt
	$(call install-torch,$(BENCH_VENV))
	touch $@

# Speed beside other codecs and formats, into Tests/Benchmarks/RESULTS.md and the README's table; more options by make
# bench BENCH=--allow-missing
bench: build $(BENCH_VENV)/.complete
	@$(BENCH_VENV)/bin/python Tests/Benchmarks/compare.py --qcodec $(QCODEC) --json $(BUILD)/bench.json \
	  --readme README.md $(BENCH)

# Sizes and speeds beside SZ3 and zfp at equal error bounds, into Tests/Benchmarks/BOUNDS.md; states by make bounds-bench
# BOUNDS="a.safetensors b.safetensors"
bounds-bench: build $(BENCH_VENV)/.complete
	@OMP_NUM_THREADS=1 $(BENCH_VENV)/bin/python Tests/Benchmarks/bounds.py $(or $(BOUNDS),$(STATE)) --qcodec $(QCODEC) \
	  --json $(BUILD)/bounds.json --results Tests/Benchmarks/BOUNDS.md

# That the benchmark works (`make test` runs this among the others); its figures are no test.
bench-smoke: build $(VENV)/.complete
	QCODEC_BINARY="$(CURDIR)/$(QCODEC)" $(VENV)/bin/python -m pytest -q -ra Tests/Python/test_bench.py \
	  Tests/Python/test_compare.py

# Bits against the error of the update, of every preset and of adamq over its range, into Tests/Benchmarks/QUALITY.md. States
# of your own by STATE="a.safetensors b.safetensors"
quality: build
	python3 Tests/Benchmarks/quality.py --qcodec $(QCODEC) --json $(BUILD)/quality.json \
	  --report Tests/Benchmarks/QUALITY.md $(STATE)

# Whether training goes on from a compressed state as from the exact one, into Tests/Benchmarks/RESUME.md and the
# README's table; more options by make resume-demo RESUME=--after=300
resume-demo: library $(BENCH_VENV)/.complete
	@$(BENCH_VENV)/bin/pip install -q ./Sources/PyQCodec
	$(BENCH_VENV)/bin/python Tests/Benchmarks/resume_demo.py --json $(BUILD)/resume.json --readme README.md $(RESUME)

# Seconds of a step with coded state beside float32 and the optimizers of others, into the README's table of steps.
optimizer-bench: library $(BENCH_VENV)/.complete
	@$(BENCH_VENV)/bin/pip install -q ./Sources/PyQCodec
	$(BENCH_VENV)/bin/python Tests/Benchmarks/optimizer_speed.py --json $(BUILD)/steps.json --readme README.md $(STEPS)

# Whether training with coded state learns as with float32: whole runs over several seeds. An hour or two; less of it by
# TRAINING="--seeds 1 --tasks convnet"
optimizer-training: library $(BENCH_VENV)/.complete
	@$(BENCH_VENV)/bin/pip install -q ./Sources/PyQCodec
	$(BENCH_VENV)/bin/python Tests/Benchmarks/train_optimizers.py --json $(BUILD)/training.json \
	  --results $(BUILD)/OPTIMIZERS.md $(TRAINING)

# Sizes and times of checkpoints that refer to the one before, in two real runs, into the README's table.
delta-bench: build $(VENV)/.complete
	$(VENV)/bin/python Tests/Benchmarks/delta.py --qcodec $(QCODEC) --json $(BUILD)/delta.json --readme README.md $(DELTA)

# Damages files of every preset under every lossless stage, and golden ones, in CASES ways, each of which follows from
# SEED and its number: qcodec-corpus damage --case N runs one of them again.
# Of the golden files those that stand alone: each is damaged in memory, where no base is beside it.
INTACT := $(filter-out %/delta-none.qckpt %/delta-lz4.qckpt %/delta-zstd.qckpt,$(wildcard Fixtures/golden/*.qckpt))
corpus: build
	@swift build -c release --product qcodec-corpus 2>&1 | tee $(BUILD)/corpus.log
	if grep -E '(Sources|Tests)/.*warning:' $(BUILD)/corpus.log; then exit 1; fi
	mkdir -p $(BUILD)/corpus
	for policy in adam8 adam4 paper8 paper4 lossless; do
	  for stage in none lz4 zstd; do
	    $(QCODEC) encode $(firstword $(STATE)) -o $(BUILD)/corpus/$$policy-$$stage.qckpt --policy $$policy \
	      --compression $$stage --quiet
	  done
	done
	$(CORPUS) damage --cases $(CASES) --seed $(SEED) $(BUILD)/corpus/*.qckpt $(INTACT)
	$(CORPUS) forge --cases $$(($(CASES) / 10)) --seed $(SEED) $(BUILD)/corpus/*.qckpt $(INTACT)

lint: deps
	swift format lint --strict -r Package.swift Sources Tests

# Optimized, for what tests compute many times over; checks of overflow and of bounds stay.
TEST_BUILD := -c release --scratch-path $(BUILD)/tests -Xswiftc -enable-testing

# The pages of the libraries and the tutorials, in $(BUILD)/documentation; a warning is an error. It shares the tests' build.
LIBRARIES := QCodec QCheckpoint QVerify QPlanner QReport QOptimizers QPolicyText
docs: deps
	@mkdir -p $(BUILD)
	swift package $(TEST_BUILD) --allow-writing-to-directory $(BUILD)/documentation generate-documentation \
	  $(addprefix --target ,$(LIBRARIES)) --enable-experimental-combined-documentation --warnings-as-errors \
	  --output-path $(BUILD)/documentation >$(BUILD)/docs.log 2>&1 || { cat $(BUILD)/docs.log; exit 1; }
	echo "documentation: $(BUILD)/documentation"

# Warnings are errors; those of packages are not ours. The log has those of files that were compiled now.
test-build: deps
	@mkdir -p $(BUILD)
	swift build --build-tests $(TEST_BUILD) 2>&1 | tee $(BUILD)/tests.log
	if grep -E '(Sources|Tests)/.*warning:' $(BUILD)/tests.log; then exit 1; fi

# What can go on side by side, installing Python packages among it, does. The Swift tests start the reference reader with this
# interpreter.
test: test-deps lint build
	$(MAKE) --no-print-directory --output-sync=target -j2 package fuzz-build test-build
	export QCODEC_PYTHON="$(CURDIR)/$(VENV)/bin/python" QCODEC_BINARY="$(CURDIR)/$(QCODEC)"
	export QCODEC_WHEELS="$(CURDIR)/$(WHEELS)"
	$(VENV)/bin/python -m pytest -q -ra -n 2 --dist loadfile Tests/Python
	$(VENV)/bin/python -m pytest -q -ra Tests/Faults
	$(VENV)/bin/python -m pytest -q -ra -m smoke Tests/Frameworks
	$(MAKE) corpus CASES=3000
	$(MAKE) --no-print-directory fuzz-smoke
	export QCODEC_CORPUS="$(CURDIR)/$(CORPUS)"
	$(MAKE) --no-print-directory docs
	swift test --skip-build $(TEST_BUILD)

# Every test with PyTorch Lightning, Hugging Face Trainer, torch.distributed, JAX and optax, fsspec; `make test` runs one of
# each.
test-frameworks: package
	$(VENV)/bin/python -m pytest -q -ra Tests/Frameworks

# One program with every fuzz target; see Tests/Fuzz/README.md. Of several --sanitize the Swift compiler heeds the last that it
# is given, so that one flag of its own names both.
FUZZ := $(BUILD)/fuzz
FUZZ_FLAGS := -c release --sanitize=fuzzer --sanitize=address -Xswiftc -sanitize=fuzzer,address \
  -Xcc -fsanitize=undefined -Xcc -fno-sanitize-recover=undefined
fuzz-build: deps
	@mkdir -p $(BUILD)
	swift build --package-path Tests/Fuzz --scratch-path $(FUZZ) $(FUZZ_FLAGS) 2>&1 | tee $(BUILD)/fuzz.log
	if grep -E '(Sources|Tests)/.*warning:' $(BUILD)/fuzz.log; then exit 1; fi

define run-fuzz
python3 Tests/Fuzz/fuzz.py --binary $(FUZZ)/release/Fuzz --work $(BUILD)/fuzz-work
endef

# make fuzz MINUTES=60 [TARGETS="checkpoint stream"]: all targets in turn, the minutes shared among them.
MINUTES ?= 9
fuzz: fuzz-build $(VENV)/.complete
	QCODEC_PYTHON="$(CURDIR)/$(VENV)/bin/python" $(run-fuzz) --seconds $$(($(MINUTES) * 60)) $(TARGETS)

# Every target over its corpus and ten seconds more.
fuzz-smoke: fuzz-build $(VENV)/.complete
	QCODEC_PYTHON="$(CURDIR)/$(VENV)/bin/python" $(run-fuzz) --seconds 10 --each --jobs 2 --seed 1 $(TARGETS)

# How many lines of each module the inputs of all targets reach, in a build of its own: make fuzz first, for a corpus.
COVERAGE := $(BUILD)/fuzz-coverage
fuzz-coverage: deps $(VENV)/.complete
	@mkdir -p $(BUILD)
	swift build --package-path Tests/Fuzz --scratch-path $(COVERAGE) -c release --sanitize=fuzzer -Xswiftc -profile-generate \
	  -Xswiftc -profile-coverage-mapping -Xcc -fprofile-instr-generate -Xcc -fcoverage-mapping
	QCODEC_PYTHON="$(CURDIR)/$(VENV)/bin/python" python3 Tests/Fuzz/coverage.py --binary $(COVERAGE)/release/Fuzz \
	  --work $(BUILD)/fuzz-work $(TARGETS)

# The Swift tests under AddressSanitizer and under ThreadSanitizer, each in a build of its own; in both the C kernels under
# UndefinedBehaviorSanitizer, for Swift traps by itself. Leaks are the fuzz targets' and valgrind's to find: what Swift's
# enumerations point to, with bits of their own in the pointer, LeakSanitizer takes for lost. Tests/Sanitizers/mutex.c tells
# ThreadSanitizer of Swift's Mutex; what the .supp files name is in Swift itself.
SANITIZERS ?= address thread
sanitize: deps $(VENV)/.complete
	export QCODEC_PYTHON="$(CURDIR)/$(VENV)/bin/python"
	export ASAN_OPTIONS="detect_leaks=0:suppressions=$(CURDIR)/Tests/Sanitizers/address.supp"
	export TSAN_OPTIONS="suppressions=$(CURDIR)/Tests/Sanitizers/thread.supp"
	mkdir -p $(BUILD)/sanitize-thread
	clang -std=c11 -Wall -Wextra -Werror -O1 -c Tests/Sanitizers/mutex.c -o $(BUILD)/sanitize-thread/mutex.o
	for sanitizer in $(SANITIZERS); do
	  echo "== $$sanitizer"
	  linked=""; [ $$sanitizer != thread ] || linked="-Xlinker $(CURDIR)/$(BUILD)/sanitize-thread/mutex.o"
	  swift test --disable-xctest --sanitize=$$sanitizer --scratch-path $(BUILD)/sanitize-$$sanitizer \
	    -Xswiftc -O -Xcc -O1 -Xcc -fsanitize=undefined -Xcc -fno-sanitize-recover=undefined $$linked
	done

# Checkpoints larger than memory, 1,000,000 tensors, the longest names: 10 GB of disk. Less of it by LARGE=--scale=0.01
large: library
	$(MAKE) install PREFIX=$(CURDIR)/$(BUILD)/prefix
	python3 Tests/Large/large.py --prefix $(BUILD)/prefix --json $(BUILD)/large.json $(LARGE)

# The long run of Tests/Faults: every way to write a file is killed and made to fail. make faults TRIALS=2000 SEED=2; TRIALS
# are the kills at random times, over all ways. FOLDER chooses the file system. Then threads, forked processes and signals,
# ten times what `make test` does.
TRIALS ?= 500
faults: build package
	@export QCODEC_BINARY="$(CURDIR)/$(QCODEC)"
	$(VENV)/bin/python Tests/Faults/campaign.py --trials $(TRIALS) --seed $(SEED) $(if $(FOLDER),--folder $(FOLDER)) \
	  --json $(BUILD)/faults.json
	$(VENV)/bin/python Tests/Faults/campaign.py --small-disks 100 --seed $(SEED)
	QCODEC_TIMES=10 $(VENV)/bin/python -m pytest -q Tests/Python/test_threads.py

clean:
	rm -rf $(BUILD)
