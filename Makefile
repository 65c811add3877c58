# Burrow: bare `make` explains. Everything about QEMU lives in boot/ (see boot/run); this file names the
# commands and hands their parameters over as environment variables.
#
# Parameters are passed on only when they are set, so that every default has one home: boot/src/config.rs.

TOOLCHAIN := $(shell sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
HOST := $(shell uname -m)-unknown-linux-gnu
ROOT := $(CURDIR)
export SMP MEM BOOT OPTS SEED DET MACHINE ICOUNT SHIFT TIMEOUT N MINUTES VERBOSE UPDATE NET INTX PCAP MONITOR PEER CONNS RUNS SECS BLOCKS

# What `make qemu` boots: the default kernel, or one of examples/.
PROGRAM = $(if $(EXAMPLE),--example $(EXAMPLE),--bin burrow)
KERNEL = target/x86_64-burrow/$(if $(RELEASE),release,debug)/$(if $(EXAMPLE),examples/$(EXAMPLE),burrow)
PROFILE = $(if $(RELEASE),--release,)

# Cargo for host programs: outside the tree, so that .cargo/config.toml does not reach it.
HOST_CARGO = cd / && RUSTUP_TOOLCHAIN=$(TOOLCHAIN) cargo

HOST_TEST = $(HOST_CARGO) test --quiet --manifest-path $(ROOT)/Cargo.toml --target $(HOST) --target-dir $(ROOT)/target/

.DEFAULT_GOAL := help
.PHONY: help setup qemu test test-det test-examples test-host fuzz test-runner golden image gdb lint fmt doc bench bench-net net-scale soak boot-time clean kernel fmt-check ci

help: ## this list
	@echo "Burrow: a Go-style runtime as a bootable kernel. Commands:"
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22
	@echo
	@echo "Parameters, e.g. make qemu SMP=8 OPTS=\"run=tour,exit\":"
	@echo "  SMP=4 MEM=1G         cores and memory of the virtual machine"
	@echo "  BOOT=pvh|bios|uefi   how it boots;  MACHINE=q35|pc|microvm"
	@echo "  OPTS=\"k=v,k=v\"       kernel command line (docs/hacking.md lists the keys)"
	@echo "  EXAMPLE=name         boot examples/name.rs;  RELEASE=1 optimized build"
	@echo "  T=name               only tests whose name contains this"
	@echo "  SEED=7 DET=1         the seed of all randomness; deterministic virtual time"
	@echo "  ICOUNT=1             count instructions (bench);  TIMEOUT=secs wall-clock limit"
	@echo "  NET=1                a network device; 127.0.0.1:8080 leads to guest port 80 (NET=7007:7,udp:7007:7)"
	@echo "                       the default kernel has one unless NET=0"
	@echo "                       NET=1+none: two devices; listen:PORT and connect:PORT join two guests"
	@echo "  PCAP=file            write every frame there, for wireshark;  MONITOR=path QEMU's monitor"
	@echo "  N=20 MINUTES=3       soak: number of runs, minutes of stress in each"

setup: ## install what is missing: toolchain parts, QEMU, a C linker
	@tools/setup

qemu: setup kernel ## boot the default kernel (or EXAMPLE=name) in QEMU
	@boot/run run $(KERNEL)

kernel:
	@cargo build --quiet -p burrow-tests $(PROGRAM) $(PROFILE)

test: setup ## run the tests inside QEMU (T=name SMP=8 SEED=7 DET=1)
	@cargo test --quiet --no-fail-fast $(PROFILE) -p burrow-tests $(T)

test-det: setup ## deterministic mode: two runs with one seed must print the same, byte for byte
	@SMP=$(or $(SMP),4) DET=1 SEED=$(or $(SEED),7) OPTS="chaos=$(or $(SEED),7) $(OPTS)" REPEAT=2 cargo test --quiet -p burrow-tests --test det

test-examples: setup ## run every program in examples/ as a test (T=name)
	@boot/run examples $(T)

test-host: setup ## tests that need no machine: unit tests, doc examples, loom models
	@$(HOST_TEST)host -p burrow-proto --lib
	@$(HOST_TEST)host -p burrow-proto --doc
	@$(HOST_TEST)host -p burrow --lib $(T)
	@$(HOST_TEST)host -p burrow --doc $(T)
	@export RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=$${LOOM_MAX_PREEMPTIONS:-3}; $(HOST_TEST)loom -p burrow --lib --release loom_

# LLVM's own pass: a counter for each edge, which the fuzzer reads.
COVERAGE = -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=3 -C llvm-args=-sanitizer-coverage-inline-8bit-counters

fuzz: setup ## a million damaged frames through the network stack, on the host, guided by coverage (N=frames)
	@export RUSTFLAGS="--cfg guided $(COVERAGE)" FUZZ=$(or $(N),1000000); $(HOST_TEST)fuzz -p burrow --lib --release net::wire_tests::fuzz -- --nocapture

test-runner: setup ## the test runner, tested with kernels that hang, reset, exit early, …
	@tools/setup clients
	@unset SMP MEM BOOT OPTS SEED DET MACHINE ICOUNT TIMEOUT; $(HOST_CARGO) test --quiet --manifest-path $(ROOT)/boot/Cargo.toml --target-dir $(ROOT)/target/boot

golden: setup ## the heap's fast paths, instruction by instruction, against tests/golden (UPDATE=1 writes them)
	@cargo build --quiet --release -p burrow-tests --bin burrow
	@boot/run golden target/x86_64-burrow/release/burrow

image: setup kernel ## a disk image (BOOT=bios or uefi); prints its path
	@boot/run image $(KERNEL)

gdb: kernel ## QEMU waits, gdb attaches with symbols
	@tools/setup gdb
	@boot/run gdb $(KERNEL)

bench: setup ## benchmarks inside QEMU (ICOUNT=1 counts instructions; T=file OUT=file)
	@OPTS="$(if $(ICOUNT),bench.scale=0.1) memprofile=off $(OPTS)" MEM=$(or $(MEM),2G) SMP=$(or $(SMP),$(if $(ICOUNT),1,4)) TIMEOUT=$(or $(TIMEOUT),1800) \
		cargo bench --quiet -p burrow-benches $(if $(T),--bench $(T)) $(if $(OUT),| tee $(OUT))

bench-net: setup ## servers in the guest, measured from the host (ROW=echo RUNS=5 SECS=2; PEER=dir compares, see docs/performance.md)
	@cargo build --quiet --release -p burrow-tests --example net_bench
	@MEM=$(or $(MEM),2G) boot/run net-bench target/x86_64-burrow/release/examples/net_bench $(ROW)

net-scale: setup ## CONNS=10000 connections from the host at once, each pinged ten times, in MEM=1G
	@cargo build --quiet --release -p burrow-tests --example net_bench
	@boot/run net-scale target/x86_64-burrow/release/examples/net_bench

soak: setup ## N rounds of the stress tests with varied SMP and SEED, logged in docs/soak.log
	@boot/run soak

boot-time: setup ## from the start of QEMU to main and to the first page, median of 5 (all three ways to boot, or BOOT=)
	@tools/setup $(if $(filter pvh bios,$(BOOT)),,uefi)
	@cargo build --quiet --release -p burrow-tests --bin burrow
	@boot/run boot-time target/x86_64-burrow/release/burrow

lint: setup ## clippy and the house rules
	@cargo clippy --quiet --workspace --lib --bins --examples -- -D warnings
	@cargo clippy --quiet -p burrow-tests --tests -- -D warnings
	@$(HOST_CARGO) clippy --quiet --manifest-path $(ROOT)/kernel/Cargo.toml --target $(HOST) --target-dir $(ROOT)/target/host -p burrow --lib -- -D warnings -A unused -A unfulfilled-lint-expectations # what only the metal uses is no fault
	@$(HOST_CARGO) clippy --quiet --manifest-path $(ROOT)/boot/Cargo.toml --target-dir $(ROOT)/target/boot --all-targets -- -D warnings
	@boot/run lint

fmt: ## format everything
	@cargo fmt --all
	@cd boot && cargo fmt
	@cd boot/image && cargo fmt

fmt-check:
	@cargo fmt --all --check
	@cd boot && cargo fmt --check
	@cd boot/image && cargo fmt --check

doc: setup ## API documentation, in target/x86_64-burrow/doc
	@RUSTDOCFLAGS="-Z unstable-options --document-hidden-items" cargo doc --quiet --no-deps -p burrow -p burrow-macros -p burrow-proto

ci: ## what CI runs
	@.ci/run

clean: ## remove everything that was built
	rm -rf target boot/target
