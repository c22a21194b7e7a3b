# SPDX-License-Identifier: GPL-2.0
#
# netraid.ko on a kernel whose headers carry Rust metadata, and shortcuts to
# the rest. Everything else, tests and demonstration included, is done by
# `cargo xtask`, which can also make the metadata that Debian's headers lack.

KVER ?= $(shell uname -r)
KDIR ?= /lib/modules/$(KVER)/build

.PHONY: all modules modules_install clean check test demo

all:
	cargo xtask build

modules:
	@test -e $(KDIR)/Makefile || \
		{ echo "There are no kernel headers in $(KDIR); install linux-headers-$(KVER), or name them with KDIR=…" >&2; exit 1; }
	@test -e $(KDIR)/rust/libkernel.rmeta || \
		{ echo "The headers in $(KDIR) carry no Rust metadata; \`cargo xtask build\` makes them from the kernel's sources" >&2; exit 1; }
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules

modules_install clean:
	$(MAKE) -C $(KDIR) M=$(CURDIR) $@

check test demo:
	cargo xtask $@
