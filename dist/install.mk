# What is installed of each package, and where. `make install-signer` and the like are for people and Debian's packages, through
# the Makefile. A recipe, which has built its program already, calls them alone, in the root of the source:
#   make -f dist/install.mk install-signer DESTDIR=... BUILD=... SETTINGS=no

PREFIX ?= /usr
BINDIR ?= $(PREFIX)/bin
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
# Empty: no rule, where there is no polkit.
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
# Folders of the operator's files, and examples of these. None of the files: on many devices user tedge owns /etc/tedge, and root,
# dpkg included, writes nothing by its name there. `no`: neither, since another package has them.
SETTINGS ?= yes
DIST = dist/tedge-p11-server
# The files in DIST name these places as they are by default. Not by a pipe to `install`: BitBake's pseudo knows no /dev/stdin.
PLACES = sed -e 's,/usr/bin/tedge,$(BINDIR)/tedge,' -e 's,/usr/lib/tedge-p11-server,$(DROPINDIR),'
# Where the binaries to install are; built when it is not given.
BUILD ?= target/release
PROGRAMS = tedge-p11-server tedge-hsm tedge-hsm-bridge
CLI_DIST = dist/tedge-hsm
BRIDGE = dist/tedge-hsm-bridge/tedge-hsm-bridge
# The PKCS#11 module has a Cargo profile of its own.
MODULE ?= $(if $(filter target/release,$(BUILD)),target/module,$(BUILD))/libtedge_p11.so
MODULE_DIST = dist/tedge-p11-module
# with_settings FOLDER...: none of them where SETTINGS is no
with_settings = $(if $(filter no,$(SETTINGS)),,$(1))
# Those that are there keep their owner and mode.
settings_folders = $(call with_settings,for dir in tedge tedge-hsm; do \
	[ -d '$(DESTDIR)$(SYSCONFDIR)'/$$dir ] || install -d '$(DESTDIR)$(SYSCONFDIR)'/$$dir || exit; done)

.PHONY: install-signer install-cli install-bridge install-module uninstall

install-signer:
	install -d $(foreach dir,$(BINDIR) $(UNITDIR) $(SYSUSERSDIR) $(TMPFILESDIR) $(POLKITDIR) $(DROPINDIR) $(MANDIR)/man5 $(MANDIR)/man8 $(call with_settings,$(DATADIR)/tedge-hsm),'$(DESTDIR)$(dir)')
	$(settings_folders)
	install -m 0755 $(BUILD)/tedge-p11-server '$(DESTDIR)$(BINDIR)'
	for file in $(DIST)/*.service $(DIST)/*.socket $(DIST)/*.timer; do \
		install -m 0644 $$file '$(DESTDIR)$(UNITDIR)' && $(PLACES) -i '$(DESTDIR)$(UNITDIR)'/$${file##*/} || exit; done
	for file in $(DIST)/dropins/* $(DIST)/softhsm2.conf; do \
		install -m 0644 $$file '$(DESTDIR)$(DROPINDIR)' && $(PLACES) -i '$(DESTDIR)$(DROPINDIR)'/$${file##*/} || exit; done
	install -m 0644 $(DIST)/tedge-p11-server.sysusers '$(DESTDIR)$(SYSUSERSDIR)/tedge-p11-server.conf'
	install -m 0644 $(DIST)/tedge-p11-server.tmpfiles '$(DESTDIR)$(TMPFILESDIR)/tedge-p11-server.conf'
	$(if $(POLKITDIR),install -m 0644 $(DIST)/tedge-p11-server.rules '$(DESTDIR)$(POLKITDIR)/50-tedge-p11-server.rules')
	install -m 0644 $(DIST)/*.5 '$(DESTDIR)$(MANDIR)/man5'
	install -m 0644 $(DIST)/*.8 '$(DESTDIR)$(MANDIR)/man8'
	$(call with_settings,install -m 0644 $(DIST)/tedge-p11-server.toml '$(DESTDIR)$(DATADIR)/tedge-hsm')

install-cli:
	install -d $(foreach dir,$(BINDIR) $(UNITDIR) $(TMPFILESDIR) $(MANDIR)/man1 $(BASHCOMPLETIONDIR) $(ZSHCOMPLETIONDIR) $(FISHCOMPLETIONDIR),'$(DESTDIR)$(dir)')
	$(settings_folders)
	install -m 0755 $(BUILD)/tedge-hsm '$(DESTDIR)$(BINDIR)'
	install -m 0644 $(CLI_DIST)/tedge-hsm-enroll.tmpfiles '$(DESTDIR)$(TMPFILESDIR)/tedge-hsm-enroll.conf'
	for file in $(CLI_DIST)/*.service $(CLI_DIST)/*.timer; do \
		install -m 0644 $$file '$(DESTDIR)$(UNITDIR)' && $(PLACES) -i '$(DESTDIR)$(UNITDIR)'/$${file##*/} || exit; done
	install -m 0644 $(CLI_DIST)/man/*.1 '$(DESTDIR)$(MANDIR)/man1'
	install -m 0644 $(CLI_DIST)/bash/* '$(DESTDIR)$(BASHCOMPLETIONDIR)'
	install -m 0644 $(CLI_DIST)/zsh/* '$(DESTDIR)$(ZSHCOMPLETIONDIR)'
	install -m 0644 $(CLI_DIST)/fish/* '$(DESTDIR)$(FISHCOMPLETIONDIR)'

install-bridge:
	install -d $(foreach dir,$(BINDIR) $(UNITDIR) $(SYSUSERSDIR) $(MANDIR)/man5 $(MANDIR)/man8 $(call with_settings,$(DATADIR)/tedge-hsm),'$(DESTDIR)$(dir)')
	$(settings_folders)
	install -m 0755 $(BUILD)/tedge-hsm-bridge '$(DESTDIR)$(BINDIR)'
	install -m 0644 $(BRIDGE).service '$(DESTDIR)$(UNITDIR)'
	$(PLACES) -i '$(DESTDIR)$(UNITDIR)/tedge-hsm-bridge.service'
	install -m 0644 $(BRIDGE).sysusers '$(DESTDIR)$(SYSUSERSDIR)/tedge-hsm-bridge.conf'
	install -m 0644 $(BRIDGE).toml.5 '$(DESTDIR)$(MANDIR)/man5'
	install -m 0644 $(BRIDGE).8 '$(DESTDIR)$(MANDIR)/man8'
	$(call with_settings,install -m 0644 $(BRIDGE).toml '$(DESTDIR)$(DATADIR)/tedge-hsm')

install-module:
	install -d $(foreach dir,$(P11MODULEDIR) $(P11KITDIR) $(DATADIR)/tedge-p11,'$(DESTDIR)$(dir)')
	install -m 0755 '$(MODULE)' '$(DESTDIR)$(P11MODULEDIR)'
	install -m 0644 $(MODULE_DIST)/tedge-p11.module '$(DESTDIR)$(P11KITDIR)'
	install -m 0644 $(MODULE_DIST)/openssl.cnf '$(DESTDIR)$(DATADIR)/tedge-p11'
	sed -i -e 's,@P11MODULEDIR@,$(P11MODULEDIR),' -e 's,@DATADIR@,$(DATADIR),' '$(DESTDIR)$(P11KITDIR)/tedge-p11.module' \
		'$(DESTDIR)$(DATADIR)/tedge-p11/openssl.cnf'

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
	rm -f '$(DESTDIR)$(DATADIR)/tedge-hsm/tedge-p11-server.toml' '$(DESTDIR)$(DATADIR)/tedge-hsm/tedge-hsm-bridge.toml'
	rmdir --ignore-fail-on-non-empty '$(DESTDIR)$(DROPINDIR)' '$(DESTDIR)$(DATADIR)/tedge-p11' '$(DESTDIR)$(DATADIR)/tedge-hsm' 2>/dev/null || :
