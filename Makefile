# Burrow: bare `make` explains. Everything about QEMU lives in boot/ (see boot/run); this file names the
# commands and hands their parameters over as environment variables.
#
# Parameters are passed on only when they are set, so that every default has one home: boot/src/config.rs.

TOOLCHAIN := $(shell sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
HOST := $(shell uname -m)-unknown-linux-gnu
ROOT := $(CURDIR)
export SMP MEM BOOT OPTS SEED DET MACHINE ICOUNT SHIFT TIMEOUT N MINUTES VERBOSE

# What `make qemu` boots: the default kernel, or one of examples/.
PROGRAM = $(if $(EXAMPLE),--example $(EXAMPLE),)
KERNEL = target/x86_64-burrow/$(if $(RELEASE),release,debug)/$(if $(EXAMPLE),examples/$(EXAMPLE),burrow)
PROFILE = $(if $(RELEASE),--release,)

# Cargo for host programs: outside the tree, so that .cargo/config.toml does not reach it.
HOST_CARGO = cd / && RUSTUP_TOOLCHAIN=$(TOOLCHAIN) cargo

.DEFAULT_GOAL := help
.PHONY: help setup qemu test test-host test-runner image gdb lint fmt doc bench soak boot-time clean kernel ci

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
	@echo "  N=20 MINUTES=3       soak: number of runs, minutes of stress in each"

setup: ## install what is missing: toolchain parts, QEMU, a C linker
	@tools/setup

qemu: setup kernel ## boot the default kernel (or EXAMPLE=name) in QEMU
	@boot/run run $(KERNEL)

kernel:
	@cargo build --quiet -p burrow $(PROGRAM) $(PROFILE)

test: setup ## run the tests inside QEMU (T=name SMP=8 SEED=7 DET=1)
	@cargo test --quiet $(PROFILE) -p burrow-tests $(T)

clean: ## remove everything that was built
	rm -rf target boot/target
