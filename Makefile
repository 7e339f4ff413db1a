# `make demo` and `make test` install what they need and say so; see README.md.

CARGO ?= cargo

.PHONY: built help demo test test-device bench attacks soak fuzz lint build deb release install

help:
	@echo 'make demo [HSM=softhsm|tpm2|kryoptic]  a TLS 1.3 handshake with the key in a token'
	@echo 'make test                     all tests'
	@echo 'make test-device              a booted device in QEMU, with its TPM, all that can break it'
	@echo 'make bench                    what the signer costs, against processes that do without it'
	@echo 'make attacks                  what one client can do to the others, tried on a release build'
	@echo 'make soak [SECONDS=600]       300 devices and their CA; random faults in the module, all the time, under load'
	@echo 'make fuzz [SECONDS=60]        what reads the bytes of others (fuzz/targets), under libFuzzer'
	@echo 'make lint                     formatting, clippy, shellcheck'
	@echo 'make build                    what make install installs'
	@echo 'make deb [ARCH="amd64 arm64 armhf"]  Debian packages, in target/deb'
	@echo 'make release [ARCH=...]       what one uploads, in target/dist: source with crates, packages, SBOMs, SHA256SUMS'
	@echo 'make install [DESTDIR=...]    programs, PKCS#11 module, man pages, completions, units and examples of settings'
	@echo 'make uninstall [DESTDIR=...]  takes that away again; settings, state and users stay'

demo:
	@tests/demo

test:
	@tests/run

test-device:
	@tests/install-packages build qemu piv systemd
	@$(CARGO) build --locked --quiet -p tedge-p11-server -p tedge-hsm -p tedge-hsm-bridge -p tedge-p11-module
	@qemu/all

bench:
	@tests/install-packages build softhsm tpm2 mqtt
	@$(CARGO) build --release --locked --quiet -p tedge-p11-server -p tedge-hsm -p tedge-hsm-bridge -p tedge-hsm-tests
	@$(CARGO) build --profile module --locked --quiet -p tedge-p11-module
	@target/release/bench

attacks:
	@tests/install-packages build softhsm
	@$(CARGO) build --release --locked --quiet -p tedge-p11-server -p tedge-hsm -p faulty-module -p tedge-hsm-tests
	@target/release/attacks

soak:
	@tests/install-packages build softhsm est
	@$(CARGO) build --workspace --locked --quiet
	@FLEET_DEVICES=$(or $(DEVICES),300) $(CARGO) test --locked --quiet -p tedge-hsm-tests --test fleet -- --nocapture
	@SOAK_SECONDS=$(or $(SECONDS),600) $(CARGO) test --locked --quiet -p tedge-hsm-tests --test soak -- --nocapture

# SECONDS for each target.
fuzz:
	@fuzz/run $(or $(SECONDS),60)

lint:
	@tests/install-packages lint
	@tests/lint

build:
	$(CARGO) build --release --locked $(PROGRAMS:%=-p %)
	$(CARGO) build --profile module --locked -p tedge-p11-module

deb:
	@packaging/build-deb $(ARCH)

release:
	@packaging/release $(ARCH)

include dist/install.mk

# What is built already needs no cargo: root may have none.
ifeq ($(BUILD),target/release)
NEEDED = $(if $(shell command -v $(CARGO)),build,built)
install-signer install-cli install-bridge install-module: $(NEEDED)
endif

built:
	@for file in $(PROGRAMS:%=$(BUILD)/%) '$(MODULE)'; do \
		[ -e "$$file" ] || { echo "make: there is no $$file, and no $(CARGO) in this user's PATH: run make build as the user who has it first" >&2; exit 1; }; done

install: install-signer install-cli install-bridge install-module
	# A socket that an older version opened keeps its owner until it is restarted.
	@if [ -n '$(DESTDIR)' ]; then \
		echo 'next: tedge-hsm setup --hsm NAME --root $(DESTDIR) prepares that image; on the device, tedge-hsm setup makes the key'; \
	else \
		echo 'next: tedge-hsm setup --hsm NAME; after an upgrade: systemctl daemon-reload && systemctl restart tedge-p11-server.socket'; \
	fi
