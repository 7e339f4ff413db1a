# `make demo` and `make test` install what they need and say so; see README.md.

CARGO ?= cargo
PREFIX ?= /usr
BINDIR ?= $(PREFIX)/bin
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
# Where the binaries to install are; built when it is not given.
BUILD ?= target/release
PROGRAMS = tedge-p11-server tedge-hsm

.PHONY: help demo test bench lint build install

help:
	@echo 'make demo [HSM=softhsm|tpm2]  a TLS 1.3 handshake with the key in a token'
	@echo 'make test                     all tests'
	@echo 'make bench                    signatures a second, against a process that calls C_Sign itself'
	@echo 'make lint                     formatting, clippy, shellcheck'
	@echo 'make install [DESTDIR=...]    programs and units'

demo:
	@tests/demo

test:
	@tests/run

bench:
	@tests/install-packages build softhsm tpm2
	@$(CARGO) build --release --locked --quiet -p tedge-p11-server -p tedge-hsm -p tedge-hsm-tests
	@target/release/bench

lint:
	@tests/install-packages lint
	@tests/lint

build:
	$(CARGO) build --release --locked $(PROGRAMS:%=-p %)

ifeq ($(BUILD),target/release)
install: build
endif
install:
	install -d '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(UNITDIR)' '$(DESTDIR)$(SYSUSERSDIR)'
	install -m 0755 $(PROGRAMS:%=$(BUILD)/%) '$(DESTDIR)$(BINDIR)'
	install -m 0644 rust/tedge-p11-server/dist/*.service rust/tedge-p11-server/dist/*.socket '$(DESTDIR)$(UNITDIR)'
	install -m 0644 rust/tedge-p11-server/dist/tedge-p11-server.sysusers '$(DESTDIR)$(SYSUSERSDIR)/tedge-p11-server.conf'
