# `make demo` and `make test` install what they need and say so; see README.md.

CARGO ?= cargo
PREFIX ?= /usr
BINDIR ?= $(PREFIX)/bin
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
POLKITDIR ?= $(PREFIX)/share/polkit-1/rules.d
# Drop-ins of the unit, for an operator to link.
DROPINDIR ?= $(PREFIX)/lib/tedge-p11-server
# Where PKCS#11 modules are, on Debian in the folder of the CPU.
P11MODULEDIR ?= $(PREFIX)/lib/$(addsuffix /,$(shell $(CC) -print-multiarch 2>/dev/null))pkcs11
P11KITDIR ?= $(PREFIX)/share/p11-kit/modules
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(PREFIX)/share/man
BASHCOMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHCOMPLETIONDIR ?= $(PREFIX)/share/zsh/site-functions
FISHCOMPLETIONDIR ?= $(PREFIX)/share/fish/vendor_completions.d
SYSCONFDIR ?= /etc
DIST = dist/tedge-p11-server
# The files in DIST name these places as they are by default.
PLACES = sed -e 's,/usr/bin/tedge,$(BINDIR)/tedge,' -e 's,/usr/lib/tedge-p11-server,$(DROPINDIR),'
# Where the binaries to install are; built when it is not given.
BUILD ?= target/release
PROGRAMS = tedge-p11-server tedge-hsm tedge-hsm-bridge
CLI_DIST = dist/tedge-hsm
BRIDGE = dist/tedge-hsm-bridge/tedge-hsm-bridge
# The PKCS#11 module has a Cargo profile of its own.
MODULE ?= $(if $(filter target/release,$(BUILD)),target/module,$(BUILD))/libtedge_p11.so
MODULE_DIST = dist/tedge-p11-module

.PHONY: built help demo test test-device bench attacks soak fuzz lint build deb release install install-signer install-cli install-bridge install-module uninstall

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
	@echo 'make install [DESTDIR=...]    programs, PKCS#11 module, man pages, completions, units and the policy'
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

# What is built already needs no cargo: root may have none.
ifeq ($(BUILD),target/release)
NEEDED = $(if $(shell command -v $(CARGO)),build,built)
install-signer install-cli install-bridge install-module: $(NEEDED)
endif

built:
	@for file in $(PROGRAMS:%=$(BUILD)/%) '$(MODULE)'; do \
		[ -e "$$file" ] || { echo "make: there is no $$file, and no $(CARGO) in this user's PATH: run make build as the user who has it first" >&2; exit 1; }; done

# What each package of recipes, Debian and people installs: one part each, and the operator's files only where there are none.
install: install-signer install-cli install-bridge install-module
	# A socket that an older version opened keeps its owner until it is restarted.
	@if [ -n '$(DESTDIR)' ]; then \
		echo 'next: tedge-hsm setup --hsm NAME --root $(DESTDIR) prepares that image; on the device, tedge-hsm setup makes the key'; \
	else \
		echo 'next: tedge-hsm setup --hsm NAME; after an upgrade: systemctl daemon-reload && systemctl restart tedge-p11-server.socket'; \
	fi

install-signer:
	install -d $(foreach dir,$(BINDIR) $(UNITDIR) $(SYSUSERSDIR) $(TMPFILESDIR) $(POLKITDIR) $(DROPINDIR) $(MANDIR)/man5 $(MANDIR)/man8 $(SYSCONFDIR)/tedge $(SYSCONFDIR)/tedge-hsm,'$(DESTDIR)$(dir)')
	install -m 0755 $(BUILD)/tedge-p11-server '$(DESTDIR)$(BINDIR)'
	for file in $(DIST)/*.service $(DIST)/*.socket $(DIST)/*.timer; do \
		$(PLACES) $$file | install -m 0644 /dev/stdin '$(DESTDIR)$(UNITDIR)'/$${file##*/} || exit; done
	for file in $(DIST)/dropins/* $(DIST)/softhsm2.conf; do \
		$(PLACES) $$file | install -m 0644 /dev/stdin '$(DESTDIR)$(DROPINDIR)'/$${file##*/} || exit; done
	install -m 0644 $(DIST)/tedge-p11-server.sysusers '$(DESTDIR)$(SYSUSERSDIR)/tedge-p11-server.conf'
	install -m 0644 $(DIST)/tedge-p11-server.tmpfiles '$(DESTDIR)$(TMPFILESDIR)/tedge-p11-server.conf'
	install -m 0644 $(DIST)/tedge-p11-server.rules '$(DESTDIR)$(POLKITDIR)/50-tedge-p11-server.rules'
	install -m 0644 $(DIST)/*.5 '$(DESTDIR)$(MANDIR)/man5'
	install -m 0644 $(DIST)/*.8 '$(DESTDIR)$(MANDIR)/man8'
	# The policy that is there is the operator's.
	[ -e '$(DESTDIR)$(SYSCONFDIR)/tedge/tedge-p11-server.toml' ] || \
		install -m 0644 $(DIST)/tedge-p11-server.toml '$(DESTDIR)$(SYSCONFDIR)/tedge'

install-cli:
	install -d $(foreach dir,$(BINDIR) $(UNITDIR) $(TMPFILESDIR) $(MANDIR)/man1 $(BASHCOMPLETIONDIR) $(ZSHCOMPLETIONDIR) $(FISHCOMPLETIONDIR) $(SYSCONFDIR)/tedge-hsm,'$(DESTDIR)$(dir)')
	install -m 0755 $(BUILD)/tedge-hsm '$(DESTDIR)$(BINDIR)'
	install -m 0644 $(CLI_DIST)/tedge-hsm-enroll.tmpfiles '$(DESTDIR)$(TMPFILESDIR)/tedge-hsm-enroll.conf'
	for file in $(CLI_DIST)/*.service $(CLI_DIST)/*.timer; do \
		$(PLACES) $$file | install -m 0644 /dev/stdin '$(DESTDIR)$(UNITDIR)'/$${file##*/} || exit; done
	install -m 0644 $(CLI_DIST)/man/*.1 '$(DESTDIR)$(MANDIR)/man1'
	install -m 0644 $(CLI_DIST)/bash/* '$(DESTDIR)$(BASHCOMPLETIONDIR)'
	install -m 0644 $(CLI_DIST)/zsh/* '$(DESTDIR)$(ZSHCOMPLETIONDIR)'
	install -m 0644 $(CLI_DIST)/fish/* '$(DESTDIR)$(FISHCOMPLETIONDIR)'
	# Where older versions had it, user tedge may have put something in its place: only root's own is taken.
	old='$(DESTDIR)$(SYSCONFDIR)/tedge/tedge-hsm-renew.env'; new='$(DESTDIR)$(SYSCONFDIR)/tedge-hsm/renew.conf'; \
		[ -e "$$new" ] || [ ! -f "$$old" ] || [ -L "$$old" ] || [ "$$(stat -c %u "$$old")" != 0 ] || mv "$$old" "$$new"

install-bridge:
	install -d $(foreach dir,$(BINDIR) $(UNITDIR) $(SYSUSERSDIR) $(MANDIR)/man5 $(MANDIR)/man8 $(SYSCONFDIR)/tedge,'$(DESTDIR)$(dir)')
	install -m 0755 $(BUILD)/tedge-hsm-bridge '$(DESTDIR)$(BINDIR)'
	$(PLACES) $(BRIDGE).service | install -m 0644 /dev/stdin '$(DESTDIR)$(UNITDIR)/tedge-hsm-bridge.service'
	install -m 0644 $(BRIDGE).sysusers '$(DESTDIR)$(SYSUSERSDIR)/tedge-hsm-bridge.conf'
	install -m 0644 $(BRIDGE).toml.5 '$(DESTDIR)$(MANDIR)/man5'
	install -m 0644 $(BRIDGE).8 '$(DESTDIR)$(MANDIR)/man8'
	[ -e '$(DESTDIR)$(SYSCONFDIR)/tedge/tedge-hsm-bridge.toml' ] || \
		install -m 0644 $(BRIDGE).toml '$(DESTDIR)$(SYSCONFDIR)/tedge'

install-module:
	install -d $(foreach dir,$(P11MODULEDIR) $(P11KITDIR) $(DATADIR)/tedge-p11,'$(DESTDIR)$(dir)')
	install -m 0755 '$(MODULE)' '$(DESTDIR)$(P11MODULEDIR)'
	sed 's,@P11MODULEDIR@,$(P11MODULEDIR),' $(MODULE_DIST)/tedge-p11.module | \
		install -m 0644 /dev/stdin '$(DESTDIR)$(P11KITDIR)/tedge-p11.module'
	sed -e 's,@P11MODULEDIR@,$(P11MODULEDIR),' -e 's,@DATADIR@,$(DATADIR),' $(MODULE_DIST)/openssl.cnf | \
		install -m 0644 /dev/stdin '$(DESTDIR)$(DATADIR)/tedge-p11/openssl.cnf'

# What `make install` has put in place, but for what is the operator's: settings, state and users.
uninstall:
	@if [ -z '$(DESTDIR)' ] && [ -d /run/systemd/system ]; then systemctl --quiet disable --now tedge-p11-server.socket \
		tedge-p11-server.service tedge-p11-server-retry.timer tedge-hsm-bridge.service tedge-hsm-renew.timer tedge-hsm-enroll.service || :; fi
	rm -f $(PROGRAMS:%='$(DESTDIR)$(BINDIR)/%')
	rm -f $(foreach file,$(wildcard $(DIST)/*.service $(DIST)/*.socket $(DIST)/*.timer $(CLI_DIST)/*.service $(CLI_DIST)/*.timer) $(BRIDGE).service,'$(DESTDIR)$(UNITDIR)/$(notdir $(file))')
	rm -f $(foreach file,$(wildcard $(DIST)/dropins/*) $(DIST)/softhsm2.conf,'$(DESTDIR)$(DROPINDIR)/$(notdir $(file))')
	rm -f $(foreach name,tedge-p11-server tedge-hsm-bridge,'$(DESTDIR)$(SYSUSERSDIR)/$(name).conf') '$(DESTDIR)$(TMPFILESDIR)/tedge-p11-server.conf' '$(DESTDIR)$(TMPFILESDIR)/tedge-hsm-enroll.conf' '$(DESTDIR)$(POLKITDIR)/50-tedge-p11-server.rules'
	rm -f $(foreach file,$(wildcard $(CLI_DIST)/man/*.1),'$(DESTDIR)$(MANDIR)/man1/$(notdir $(file))') $(foreach file,$(wildcard $(DIST)/*.5) $(BRIDGE).toml.5,'$(DESTDIR)$(MANDIR)/man5/$(notdir $(file))') $(foreach file,$(wildcard $(DIST)/*.8) $(BRIDGE).8,'$(DESTDIR)$(MANDIR)/man8/$(notdir $(file))')
	rm -f $(foreach file,$(wildcard $(CLI_DIST)/bash/*),'$(DESTDIR)$(BASHCOMPLETIONDIR)/$(notdir $(file))') $(foreach file,$(wildcard $(CLI_DIST)/zsh/*),'$(DESTDIR)$(ZSHCOMPLETIONDIR)/$(notdir $(file))') $(foreach file,$(wildcard $(CLI_DIST)/fish/*),'$(DESTDIR)$(FISHCOMPLETIONDIR)/$(notdir $(file))')
	rm -f '$(DESTDIR)$(P11MODULEDIR)/libtedge_p11.so' '$(DESTDIR)$(P11KITDIR)/tedge-p11.module' '$(DESTDIR)$(DATADIR)/tedge-p11/openssl.cnf'
	-rmdir --ignore-fail-on-non-empty '$(DESTDIR)$(DROPINDIR)' '$(DESTDIR)$(DATADIR)/tedge-p11'
