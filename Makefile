# moonpool.  `make run` and `make test` are all a newcomer needs; each installs
# what is missing first.  `make help` names the rest.

VERSION := 0.1.0
B := build
CC ?= gcc
PKG := libmosquitto libuv inih libseccomp lua5.4

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
        -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wvla -Wformat=2
OPT ?= -O2 -g
HARD := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
# SAN=1 builds everything again under build/san with ASan and UBSan.
ifdef SAN
B := build/san
OPT := -O1 -g -fno-omit-frame-pointer
HARD := -fsanitize=address,undefined -fno-sanitize-recover=undefined
LDHARD := -fsanitize=address,undefined
endif
ifdef CRASH
CPPFLAGS += -DMP_CRASH
endif

CPPFLAGS += -I. -D_GNU_SOURCE -DMP_VERSION='"$(VERSION)"' -MMD -MP
CFLAGS += -std=c11 $(OPT) $(WARN) $(HARD) -ffunction-sections -fdata-sections
LDFLAGS += $(LDHARD) -pie -Wl,-z,relro,-z,now,--as-needed,--gc-sections

lib = $(patsubst %.c,$(B)/%.o,$(wildcard $(1)/*.c))
BASE_O := $(call lib,core/base)
CORE_O := $(call lib,core)
LUART_O := $(call lib,luart)
TRANSPORT_O := $(call lib,transports)
# The programs' mains are cli/host.c and cli/worker.c; the rest is moonpool.
CLI_O := $(filter-out $(B)/cli/host.o $(B)/cli/worker.o,$(call lib,cli))

$(B)/luart/%.o $(B)/tests/bench/%.o: CPPFLAGS += $(shell pkg-config --cflags lua5.4)
$(B)/tests/unit/%.o: CPPFLAGS += $(shell pkg-config --cflags lua5.4)

PROGRAMS := $(B)/moonpool $(B)/moonpool-host $(B)/moonpool-worker

.PHONY: all
all: $(PROGRAMS)

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

$(B)/libbase.a: $(BASE_O)
$(B)/libcore.a: $(CORE_O)
$(B)/libluart.a: $(LUART_O)
$(B)/lib%.a:
	@rm -f $@ && $(AR) rcs $@ $^

$(B)/moonpool: $(CLI_O) $(B)/libcore.a $(B)/libbase.a
	$(CC) $(LDFLAGS) $^ -linih -o $@
$(B)/moonpool-host: $(B)/cli/host.o $(TRANSPORT_O) $(B)/libcore.a $(B)/libbase.a
	$(CC) $(LDFLAGS) $^ -lmosquitto -luv -linih -o $@
$(B)/moonpool-worker: $(B)/cli/worker.o $(B)/libluart.a $(B)/libbase.a
	$(CC) $(LDFLAGS) $^ $(shell pkg-config --libs lua5.4) -lseccomp -o $@

UNIT := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c))
$(B)/tests/test_%: $(B)/tests/unit/test_%.o $(TRANSPORT_O) $(B)/libcore.a $(B)/libluart.a $(B)/libbase.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $^ -lcmocka -lmosquitto -luv -linih -lseccomp $(shell pkg-config --libs lua5.4) -lm -o $@

.PHONY: unit format clean
unit: $(UNIT) $(PROGRAMS)
	@for t in $(UNIT); do echo "== $$t"; $$t || exit 1; done

format:
	clang-format -i $$(git ls-files -co --exclude-standard '*.c' '*.h')
clean:
	rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
