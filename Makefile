# moonpool.  `make run` and `make test` are all a newcomer needs; each installs
# what is missing first.  `make help` names the rest.
#
# Everything that is built lies in $(B): build/, with SAN=1 build/san/, and so
# on for COV and FUZZ.  A folder is a list of its files: a new file needs no
# line here.  What one program is made of stands under "programs" below.

VERSION := 0.1.0
B := build
ifeq ($(origin CC),default)
CC := gcc
endif
PREFIX ?= /usr/local
LIBEXEC = $(PREFIX)/libexec/moonpool
JOBS ?= $(shell nproc)

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
        -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wvla -Wformat=2
OPT ?= -O2 -g
HARD := -fstack-protector-strong -D_FORTIFY_SOURCE=2
# SAN=1 builds everything again under build/san with ASan and UBSan.
ifdef SAN
B := build/san
OPT := -O1 -g -fno-omit-frame-pointer
HARD := -fsanitize=address,undefined -fno-sanitize-recover=undefined
LDHARD := $(HARD)
CRASH := 1
endif
# COV=1 counts which lines run, for `make cover`.
ifdef COV
B := build/cov
OPT := -O0 -g
HARD := --coverage
LDHARD := --coverage
endif
# FUZZ=1 is for `make fuzz`: clang, sanitizers and libFuzzer.
ifdef FUZZ
B := build/fuzz
CC := clang
OPT := -O1 -g -fno-omit-frame-pointer
# gcc's warnings are the errors; clang has its own taste in clang-tidy.
WARN := -Wall
HARD := -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined
LDHARD := -fsanitize=address,undefined
endif
# CRASH=1 gives the crash points of core/base/crash.h their meaning; SAN=1 has
# them, too, so that `make test` can visit some.
ifdef CRASH
CPPFLAGS += -DMP_CRASH
endif

CPPFLAGS += -I. -D_GNU_SOURCE -DMP_VERSION='"$(VERSION)"' -MMD -MP
CFLAGS += -std=c11 $(OPT) $(WARN) $(HARD) -fPIE -ffunction-sections \
          -fdata-sections
LDFLAGS += $(LDHARD) -pie -Wl,-z,relro,-z,now,--as-needed,--gc-sections
# Asked when a rule runs, not when this file is read: pkg-config may be among
# what has to be installed first.
LUA_CFLAGS = $(shell pkg-config --cflags lua5.4)
LUA_LIBS = $(shell pkg-config --libs lua5.4)

lib = $(patsubst %.c,$(B)/%.o,$(wildcard $(1)/*.c))
BASE_O := $(call lib,core/base)
CORE_O := $(call lib,core)
API_O := $(call lib,core/api)
LUART_O := $(call lib,luart)
# Loaded when they are needed: transports/http*.c is moonpool-http.so.
HTTP_O := $(patsubst %.c,$(B)/%.o,$(wildcard transports/http*.c))
COAP_O := $(patsubst %.c,$(B)/%.o,$(wildcard transports/coap*.c))
TRANSPORT_O := $(filter-out $(HTTP_O) $(COAP_O),$(call lib,transports))
# Each program has its main in a file of cli/; what they share is the rest.
MAINS := $(B)/cli/moonpool.o $(B)/cli/host.o $(B)/cli/worker.o
CLI_O := $(filter-out $(MAINS),$(call lib,cli))

OBJECTS := $(B)/moonpool-api.so $(if $(HTTP_O),$(B)/moonpool-http.so) $(if $(COAP_O),$(B)/moonpool-coap.so)
PROGRAMS := $(B)/moonpool $(B)/moonpool-host $(B)/moonpool-worker $(OBJECTS)

.PHONY: all
all: $(PROGRAMS)

# One short line a step; V=1 shows the commands.
step = $(if $(V),,@printf '  %-4s %s\n' $(1) $(2);)

# ---- objects ----

$(B)/luart/%.o $(B)/tests/%.o: CPPFLAGS += $(LUA_CFLAGS)
$(B)/tests/fuzz/%.o: CPPFLAGS += $(if $(FUZZ),,-DMP_FUZZ_MAIN)
$(API_O) $(HTTP_O) $(COAP_O): CFLAGS += -fPIC
$(B)/core/worker.o $(B)/cli/%.o: CPPFLAGS += -DMP_LIBEXEC='"$(LIBEXEC)"'
$(B)/core/worker.o $(call lib,cli): $(B)/prefix

$(B)/%.o: %.c Makefile | build/setup-build
	@mkdir -p $(@D)
	$(call step,CC,$<)$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

# Holds PREFIX; touched only when that changes.
.PHONY: FORCE
$(B)/prefix: FORCE
	@mkdir -p $(@D)
	@echo '$(PREFIX)' | cmp -s - $@ || echo '$(PREFIX)' > $@

# Plain `make` installs nothing: it says what is missing.
build/setup-build:
	@MOONPOOL_NO_INSTALL=1 tests/setup.sh build

$(B)/libbase.a: $(BASE_O)
$(B)/libcore.a: $(CORE_O)
$(B)/libluart.a: $(LUART_O)
$(B)/libcli.a: $(CLI_O)
$(B)/libtransport.a: $(TRANSPORT_O)
$(B)/lib%.a:
	@mkdir -p $(@D)
	@rm -f $@ && $(AR) rcs $@ $^

# ---- programs ----

$(B)/moonpool: $(B)/cli/moonpool.o $(B)/libcli.a $(B)/libcore.a $(B)/libbase.a
	$(call step,LINK,$@)$(CC) $(LDFLAGS) $^ -linih -luv -lsqlite3 -lpthread -o $@
# What the shared objects take from the host is kept there and shown to them.
NEEDS = $(shell nm -u $(OBJECTS) | sed -n 's/^ *U \(mp_.*\)/-Wl,-u,\1 -Wl,--export-dynamic-symbol=\1/p')
HTTP_L = -lmicrohttpd -lmbedcrypto
COAP_L = -lcoap-3-openssl
$(B)/moonpool-api.so: $(API_O)
$(B)/moonpool-api.so: LIBS = -lmicrohttpd
$(B)/moonpool-http.so: $(HTTP_O)
$(B)/moonpool-http.so: LIBS = $(HTTP_L)
$(B)/moonpool-coap.so: $(COAP_O)
$(B)/moonpool-coap.so: LIBS = $(COAP_L)
$(OBJECTS):
	$(call step,LINK,$@)$(CC) $(filter-out -pie,$(LDFLAGS)) -shared $^ $(LIBS) -luv -o $@
$(B)/moonpool-host: $(B)/cli/host.o $(TRANSPORT_O) $(B)/libcli.a $(B)/libcore.a $(B)/libbase.a $(OBJECTS)
	$(call step,LINK,$@)$(CC) $(LDFLAGS) $(NEEDS) $(filter-out %.so,$^) -lmosquitto -luv -linih -lsqlite3 -lpthread -o $@
$(B)/moonpool-worker: $(B)/cli/worker.o $(B)/libluart.a $(B)/libbase.a
	$(call step,LINK,$@)$(CC) $(LDFLAGS) $^ $(LUA_LIBS) -lseccomp -lm -o $@

# ---- programs of the tests ----

ALL_LIBS = $(B)/libcli.a $(B)/libcore.a $(B)/libluart.a $(B)/libbase.a
ALL_L = -lmosquitto -luv -linih -lsqlite3 -lseccomp $(LUA_LIBS) -lm

# A unit test is one file.  What tests share (a scripted broker, a worker to
# talk to) is in files of another name, and in libtest.a.
UNIT := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c))
LOAD := $(patsubst tests/load/%.c,$(B)/%,$(wildcard tests/load/*.c))
$(B)/libtest.a: $(filter-out $(B)/tests/unit/test_%,$(call lib,tests/unit))
# What the host loads, its tests link.
$(B)/tests/test_http $(B)/tests/test_http_auth: $(HTTP_O)
$(B)/tests/test_http $(B)/tests/test_http_auth: TEST_L = $(HTTP_L)
$(B)/tests/test_coap: $(COAP_O)
$(B)/tests/test_coap: TEST_L = $(COAP_L)
$(B)/tests/test_%: $(B)/tests/unit/test_%.o $(B)/libtest.a $(B)/libtransport.a $(ALL_LIBS) | $(B)/tests/moonpool-worker
	$(call step,LINK,$@)$(CC) $(LDFLAGS) $(filter %.o,$^) $(filter %.a,$^) -lcmocka $(ALL_L) $(TEST_L) -o $@

$(LOAD): $(B)/%: $(B)/tests/load/%.o $(B)/libbase.a
	$(call step,LINK,$@)$(CC) $(LDFLAGS) $^ -lmosquitto -luv -lm -o $@

BENCH := $(patsubst tests/bench/%.c,$(B)/bench/%,$(wildcard tests/bench/*.c))
$(B)/bench/%: $(B)/tests/bench/%.o $(ALL_LIBS) | $(B)/bench/moonpool-worker
	$(call step,LINK,$@)$(CC) $(LDFLAGS) $^ $(ALL_L) -o $@

# Bare clients of a broker: nothing of the host is in them.
$(B)/bench/ceiling $(B)/bench/alerts $(B)/bench/counter: $(B)/bench/%: $(B)/tests/bench/%.o $(B)/libbase.a
	@mkdir -p $(@D)
	$(call step,LINK,$@)$(CC) $(LDFLAGS) $^ -lmosquitto -lsqlite3 -lm -o $@

FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/tests/%,$(wildcard tests/fuzz/fuzz_*.c))
$(B)/tests/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(ALL_LIBS) | $(B)/tests/moonpool-worker
	$(call step,LINK,$@)$(CC) $(LDFLAGS) $(if $(FUZZ),-fsanitize=fuzzer) $^ $(ALL_L) -o $@

# What a bare library does.
$(B)/bench/coap_bare: BARE_L = $(COAP_L)
$(B)/bench/http_bare: BARE_L = -lmicrohttpd -luv
$(B)/bench/coap_bare $(B)/bench/http_bare: $(B)/bench/%: $(B)/tests/bench/%.o
	@mkdir -p $(@D)
	$(call step,LINK,$@)$(CC) $(LDFLAGS) $^ $(BARE_L) -o $@

# What kills and disturbs a real host (tests/crash), and cuts its power.
DURABLE := $(addprefix $(B)/,crash-test powercut-replay powercut-small record.so fault.so faketime.so)
$(B)/crash-test: $(call lib,tests/crash) $(B)/libbase.a
	$(call step,LINK,$@)$(CC) $(LDFLAGS) $^ -lmosquitto -lsqlite3 -o $@
$(B)/powercut-replay: $(patsubst %,$(B)/tests/powercut/%.o,disk promise replay) $(B)/libcore.a $(B)/libbase.a
	$(call step,LINK,$@)$(CC) $(LDFLAGS) $^ -luv -linih -lsqlite3 -o $@
$(B)/powercut-small: $(B)/tests/powercut/small.o
	$(call step,LINK,$@)$(CC) $(LDFLAGS) $^ -lsqlite3 -o $@
$(B)/record.so: tests/powercut/record.c
$(B)/fault.so: tests/fault/fault.c
$(B)/faketime.so: tests/fault/faketime.c
$(B)/record.so $(B)/fault.so $(B)/faketime.so: Makefile
	@mkdir -p $(@D)
	$(call step,CC,$@)$(CC) $(CPPFLAGS) -std=c11 -O2 -g $(WARN) -fPIC -shared $(filter %.c,$^) -o $@

# A program looks for the worker beside itself.
$(B)/tests/moonpool-worker $(B)/bench/moonpool-worker:
	@mkdir -p $(@D) && ln -sf ../moonpool-worker $@

.SECONDARY:

# ---- what a person types ----

# -j only where the caller gave none.
SUB = +@$(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS))

.PHONY: help run test test-programs unit check bench cover fuzz crash \
        powercut fault storm install uninstall format clean
help:
	@echo 'make run      set up, build, and let simulated sensors burst'
	@echo '              through the functions in examples/; Ctrl-C ends it'
	@echo 'make test     set up, build twice (release, sanitized), all tests'
	@echo 'make          the programs, in build/'
	@echo 'make unit     the unit tests of one build; SAN=1: sanitized'
	@echo 'make check    format, include map, symbols, static analysis'
	@echo 'make bench    figures with units; also in build/bench.json'
	@echo 'make cover    which lines the tests never run'
	@echo 'make fuzz     P=json S=60: one parser, so many seconds'
	@echo 'make crash    SIGKILL at every crash point and at any moment; some'
	@echo '              minutes, as have: make powercut (1,000 cuts of the power),'
	@echo '              make fault (the Nth write, sync, allocation fails)'
	@echo 'make storm    400,000 damaged CoAP messages: alive, memory flat'
	@echo 'make install  DESTDIR= PREFIX=$(PREFIX); uninstall takes it away'
	@echo 'make format   lay out all sources;  make clean  remove build/'
	@echo
	@echo 'MOONPOOL_NO_INSTALL=1 prints what would be installed, and stops.'

run:
	@tests/setup.sh build
	$(SUB) all $(LOAD)
	@exec cli/demo.sh $(B)

test:
	@tests/setup.sh build test
	$(SUB) all test-programs
	$(SUB) SAN=1 B=$(B)/san all test-programs
	@tests/run.sh $(B) $(B)/san

test-programs: $(UNIT) $(LOAD) $(FUZZERS) $(DURABLE)

unit: $(UNIT) $(PROGRAMS) $(LOAD)
	@tests/run.sh --unit $(B)

check:
	@tests/setup.sh build check
	$(SUB) all
	@bad=0; for c in map "symbols $(B)" format tidy; do \
	    set -- $$c; tests/check/$$1.sh $$2 || { echo "check: $$1: no"; bad=1; }; \
	done; exit $$bad

bench:
	@tests/setup.sh build bench
	$(SUB) all $(LOAD) $(BENCH)
	@tests/bench/run.sh $(B)

cover:
	@tests/setup.sh build
	$(SUB) COV=1 B=$(B)/cov all test-programs
	@tests/check/cover.sh $(B)/cov

S ?= 60
fuzz:
	@tests/setup.sh build fuzz
	@test -f 'tests/fuzz/fuzz_$(P).c' || { echo 'make fuzz P=NAME S=SECONDS; NAME is one of:' $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c)); exit 1; }
	$(SUB) FUZZ=1 B=$(B)/fuzz $(B)/fuzz/tests/fuzz_$(P)
	@mkdir -p $(B)/fuzz/found-$(P)
	$(B)/fuzz/tests/fuzz_$(P) -max_total_time=$(S) -max_len=4096 -print_final_stats=1 \
	  -artifact_prefix=$(B)/fuzz/ $(B)/fuzz/found-$(P) $(wildcard tests/corpus/$(P))

# SEED=N repeats what a run printed.
crash:
	@tests/setup.sh build
	$(SUB) CRASH=1 B=$(B)/crash all $(B)/crash/crash-test
	@tests/crash/crash.sh $(B)/crash $(SEED)
powercut fault:
	@tests/setup.sh build
	$(SUB) all $(DURABLE)
	@tests/$@/$@.sh $(B) $(SEED)

storm:
	@tests/setup.sh build
	$(SUB) all $(LOAD)
	@BUILD=$(B) tests/system/coap.sh storm 300000 100000

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(LIBEXEC) $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -s -m 755 $(B)/moonpool $(DESTDIR)$(PREFIX)/bin/
	install -s -m 755 $(B)/moonpool-host $(B)/moonpool-worker $(OBJECTS) $(DESTDIR)$(LIBEXEC)/
	sed 's|@PREFIX@|$(PREFIX)|' cli/moonpool.service > $(B)/moonpool.service
	install -m 644 $(B)/moonpool.service $(DESTDIR)$(PREFIX)/lib/systemd/system/
	install -d $(DESTDIR)/etc/moonpool/functions $(DESTDIR)$(PREFIX)/share/doc/moonpool
	install -m 644 README.md docs/*.md $(DESTDIR)$(PREFIX)/share/doc/moonpool/
	cp -r examples $(DESTDIR)$(PREFIX)/share/doc/moonpool/

uninstall:
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/moonpool
	rm -f $(DESTDIR)$(PREFIX)/bin/moonpool $(DESTDIR)$(PREFIX)/lib/systemd/system/moonpool.service
	rm -rf $(DESTDIR)$(LIBEXEC)

format:
	@tests/setup.sh check
	clang-format -i $$(git ls-files -co --exclude-standard '*.c' '*.h')
clean:
	rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
