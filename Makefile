# `make` alone lists the targets.

PREFIX ?= /usr/local
# rustup's directory is not on the PATH of a shell that was open before it was installed.
export PATH := $(HOME)/.cargo/bin:$(PATH)

images := crates/bcvk-testkit/images
# Where cargo puts programs for its host-tuple (.cargo/config.toml).
target := target/$(shell uname -m)-unknown-linux-gnu
# BCVK_BIN names another one.
bcvk := $(or $(BCVK_BIN),$(target)/release/bcvk)
xtask = $(dir $(bcvk))xtask
# What makes it; a test that has a bcvk already puts `true` here.
build := setup/release.sh
nextest_profile := $(if $(filter true,$(CI)),--profile ci)

.DEFAULT_GOAL := help
.PHONY: help setup build images shell demo guide quick test test-all torture torture-short test-hosts test-hosts-short crowd cycles bench bench-scale fuzz fuzz-short man schemas lint supply-chain runner chores install uninstall packages test-packages clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what this machine lacks (Debian-like systems; uses sudo)
	@setup/host.sh

build: ## build the release binary
	@setup/release.sh

images: ## make the test images that are missing or out of date
	@$(images)/build.sh all

# Each target below sets up in its recipe rather than by prerequisites: under -j those would run
# before what they depend on is installed.
shell: ## boot a test image, and open a shell in it
	@setup/host.sh --to-run
	@$(build)
	@$(images)/build.sh trixie
	@$(bcvk) ephemeral run-ssh localhost/bcvk-test:trixie

demo: ## boot a test image, and show what answers
	@setup/host.sh --to-run
	@setup/release.sh
	@$(images)/build.sh trixie
	$(bcvk) ephemeral run-ssh localhost/bcvk-test:trixie -- sh -c 'systemctl status --no-pager | head -n 40; findmnt'

# Only root can become the user that the rootless tests run as; other users leave these tests out.
test: export BCVK_TESTS_MAY_SKIP = $(if $(filter-out 0,$(shell id -u)),not-root)
test: ## set up, then lint, unit tests and tests on real VMs
	@setup/host.sh $(if $(filter 0,$(shell id -u)),--rootless-user)
	@$(images)/build.sh all
	$(MAKE) lint
	cargo nextest run --workspace $(if $(filter true,$(CI)),--profile "$$(tests/pace.sh)")

quick: ## what a change is tried with at once: unit tests, tests without a VM, and one VM
	cargo nextest run --workspace --profile quick

test-all: ## what runs each night: test, and all that takes longer
	$(MAKE) test CI=
	$(MAKE) test-packages torture test-hosts supply-chain

torture: ## kill, stop, repeat, crowd and fuzz: docs/reliability.md (hours)
	@setup/host.sh
	@$(images)/build.sh trixie
	cargo build --package bcvk
	cargo run --package bcvk-torture -- faults --record
	$(MAKE) cycles crowd fuzz

torture-short: ## the part of it that CI runs (minutes)
	@setup/host.sh
	@$(images)/build.sh trixie
	cargo build --package bcvk
	cargo run --package bcvk-torture -- faults --short
	cargo run --package bcvk-torture -- cycles --count 10 --bcvk $(target)/debug/bcvk

test-hosts: ## run bcvk on other hosts, which are VMs: docs/hosts.md (an hour)
	@setup/host.sh
	@$(images)/build.sh trixie host-trixie host-testing
	cargo build --package bcvk
	cargo run --package bcvk-torture -- hosts --record

test-hosts-short: ## its first cases: doctor, a boot and two resumed VMs of a user (ten minutes)
	@setup/host.sh
	@$(images)/build.sh trixie host-trixie
	cargo build --package bcvk
	cargo run --package bcvk-torture -- hosts --short

bench: ## compare with the same VM started by hand
	cargo run --release -p bcvk-bench -- beside

crowd: ## start 20 VMs at once
	cargo run --release -p bcvk-torture -- crowd

cycles: ## start and end 200 VMs, and see that nothing grows
	cargo run --release -p bcvk-torture -- cycles

fuzz: ## fuzz every parser, SECONDS each (300)
	@fuzz/run.sh $(SECONDS)

# With 20 s for each, CI would take ten minutes for this; making the programs takes three.
fuzz-short: ## the part of it that CI runs: 8 s each
	@CI=true fuzz/run.sh 8

man: ## write the option lists of docs/man anew
	cargo xtask man

schemas: ## write the JSON schemas of docs/schemas anew
	BCVK_WRITE_SCHEMAS=1 cargo test --quiet --package bcvk schemas

# shellcheck is no part of the set-up; where it is there, use it.
lint: ## formatting, clippy, lock files, shell scripts
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	@! command -v shellcheck >/dev/null || shellcheck -x setup/*.sh docs/*.sh .ci/run fuzz/*.sh runner/*.sh $(images)/*.sh tests/*.sh

# Advisories come from the network; DENY='bans licenses sources' leaves them out.
DENY ?= advisories bans licenses sources
supply-chain: ## licences and advisories of dependencies, oldest Rust, reproducible build
	cargo deny check $(DENY)
	cargo nextest run -p xtask --test msrv
	@setup/reproducible.sh

# BASE=… puts it on another Debian-like image.
runner: build ## build the image with bcvk and QEMU: docs/scale-out.md
	@runner/build.sh $(bcvk) "" $(if $(BASE),BASE=$(BASE))

bench-scale: ## measure what each further VM costs (20 minutes)
	cargo run --release -p bcvk-bench -- scale

guide: ## make the guide, as a book for a browser: target/guide (builds mdbook if it is missing)
	@docs/build.sh

# What is installed, below DESTDIR; uninstall removes the same.
bin := $(DESTDIR)$(PREFIX)/bin/bcvk
share := $(DESTDIR)$(PREFIX)/share
completions := $(share)/bash-completion/completions/bcvk $(share)/zsh/site-functions/_bcvk \
    $(share)/fish/vendor_completions.d/bcvk.fish

# Apart from build: what features xtask asks of shared crates, the program must not get.
chores:
	@setup/release.sh --package xtask

install: $(if $(BCVK_BIN),,build chores) ## install program, manual, completions and schemas to PREFIX (/usr/local), below DESTDIR
	install -D -m 0755 $(bcvk) '$(bin)'
	rm -rf target/man
	$(xtask) man --out target/man
	install -d '$(share)/man/man5' '$(share)/man/man8'
	install -m 0644 target/man/man5/bcvk-config.5 '$(share)/man/man5'
	install -m 0644 target/man/man8/bcvk*.8 '$(share)/man/man8'
	install -d $(foreach file,$(completions),'$(dir $(file))')
	$(bcvk) completions bash >'$(word 1,$(completions))'
	$(bcvk) completions zsh >'$(word 2,$(completions))'
	$(bcvk) completions fish >'$(word 3,$(completions))'
	chmod 0644 $(foreach file,$(completions),'$(file)')
	install -d '$(share)/bcvk/schemas' '$(share)/doc/bcvk'
	install -m 0644 docs/schemas/*.json '$(share)/bcvk/schemas'
	install -m 0644 README.md CHANGELOG.md SECURITY.md LICENSE-MIT LICENSE-APACHE '$(share)/doc/bcvk'

uninstall: ## remove what install has installed
	rm -f '$(bin)' $(foreach file,$(completions),'$(file)')
	rm -f '$(share)/man/man5/bcvk-config.5' '$(share)'/man/man8/bcvk.8 '$(share)'/man/man8/bcvk-*.8
	rm -rf '$(share)/bcvk' '$(share)/doc/bcvk'

packages: ## build the .deb and the .rpm in target/packages; installs cargo's tools for it if missing
	@setup/packages.sh deb rpm

# Of the program that tests use; a release would be built for a minute or two.
test-packages: ## build the .deb, install it in a clean Debian, look at it and remove it
	@setup/host.sh
	@setup/packages.sh --tools deb
	@[ -x $(target)/debug/xtask ] || cargo build --quiet --package xtask
	cargo nextest run --package bcvk-tests $(nextest_profile) --run-ignored all -E 'binary(packages)'

clean: ## remove what was built, but not the images
	cargo clean
