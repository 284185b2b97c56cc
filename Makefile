# proxyd's tasks; `make help` lists them. Everything happens in .venv and build/: nothing of the machine's own Python is touched.

MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
.DEFAULT_GOAL := help

# The first Python that is new enough and really starts (a pyenv shim may exist without a version behind it).
PYTHON ?= $(shell for each in python3.11 python3 python3.12 python3.13; do \
	"$$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v "$$each" && break; done)
export PYTHON

VENV ?= .venv
PY := $(VENV)/bin/python
NEED := sh tests/packaging/need.sh
BUILD := $(PY) tests/packaging/build.py
PYTEST := $(PY) -m pytest
VARIANT_PYTEST := $(PYTEST) -o pythonpath=. -p tests.packaging.variant
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?=
BENCH ?=
TESTS ?=
WORKERS ?= 2

.PHONY: help run test build system env lint debug-test asan tsan fuzz acceptance package-test bench sdist wheel deb man clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

run: build ## build, then start proxyd with two demo origins on config/quickstart.yaml; Ctrl-C stops all
	@exec $(PY) -m proxyd run --demo -c config/quickstart.yaml

test: build ## the suite: no root, no other programs; TESTS=path runs a part, WORKERS=0 in one process
	$(PYTEST) -n $(WORKERS) --dist loadfile $(TESTS)

build: env ## compile what changed, in place (PROXYD_DEBUG=1: with live-object counting)
	@$(BUILD)
	@$(PY) -m compileall -q proxyd ext/proxyd_ext

# On its own, because make expands a whole recipe before its first line runs: PYTHON may be there only after this.
system:
	@$(NEED) python-3.11=python3 gcc=gcc libc-headers=libc6-dev

# What pyproject.toml asks for is compared as text, so that a change of its other tables costs no round of pip.
env: system ## .venv with all dependencies
	@$(NEED) python-venv=python3-venv python-headers=python3-dev
	@[ -x $(PY) ] || { echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@$(PY) -c "import tomllib; t = tomllib.load(open('pyproject.toml', 'rb')); p = t['project']; x = p['optional-dependencies']; \
		print('\n'.join(t['build-system']['requires'] + p['dependencies'] + x['test'] + x['lint']))" > $(VENV)/wanted.txt
	@cmp -s $(VENV)/wanted.txt $(VENV)/installed.txt || { echo "installing the dependencies"; \
		$(PY) -m pip install -q --disable-pip-version-check -r $(VENV)/wanted.txt </dev/null && mv $(VENV)/wanted.txt $(VENV)/installed.txt; }
	@$(PY) -c "import pathlib, sysconfig; \
		pathlib.Path(sysconfig.get_path('purelib'), 'proxyd-checkout.pth').write_text('$(CURDIR)\n$(CURDIR)/ext\n')"
	@printf '#!$(CURDIR)/$(PY)\nimport sys\n\nfrom proxyd.cli import main\n\nsys.exit(main())\n' > $(VENV)/bin/proxyd && chmod +x $(VENV)/bin/proxyd
	@[ proxyd.egg-info/PKG-INFO -nt pyproject.toml ] || $(PY) -c 'from setuptools import setup; setup()' -q egg_info >/dev/null 2>&1

lint: env ## ruff, mypy strict, cython-lint: all of them, whatever the first ones find
	@status=0; \
	$(PY) -m ruff check . || status=1; \
	$(PY) -m mypy || status=1; \
	MYPYPATH=ext $(PY) -m mypy --explicit-package-bases tests || status=1; \
	PATH=$(VENV)/bin:$$PATH $(VENV)/bin/cython-lint ext tests/fuzz tests/tsan || status=1; \
	exit $$status

# The variants are built beside the release build and put in front of it, see tests/packaging/build.py.
debug-test: env ## the suite on a build that counts live native objects: births must equal deaths
	@$(BUILD) debug
	PROXYD_VARIANT=debug PYTHONPATH=build/debug/lib $(VARIANT_PYTEST) $(TESTS)

asan: env ## the suite under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(NEED) libasan.so=libgcc-12-dev libubsan.so=libgcc-12-dev
	@$(BUILD) asan
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" PYTHONMALLOC=malloc PYTHONPATH=build/asan/lib \
	ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:handle_abort=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	PROXYD_VARIANT=asan $(VARIANT_PYTEST) --timeout 300 $(TESTS)

tsan: env ## stress of rings, doors and the snapshot hand-over under ThreadSanitizer
	@$(NEED) libtsan.so=libgcc-12-dev setarch=util-linux
	@$(BUILD) tsan
	$(PY) tests/tsan/run.py

fuzz: env ## coverage-guided fuzzing of every parser, FUZZ_SECONDS=60 each; FUZZ_TARGETS="request_head path" picks
	@$(NEED) clang=clang libfuzzer=libclang-rt-dev
	@$(BUILD) fuzz
	$(PY) -m tests.fuzz.run --seconds $(FUZZ_SECONDS) $(FUZZ_TARGETS)

acceptance: build package-test ## what needs real peers: installs them when root, fails without them
	@$(NEED) nginx=nginx haproxy=haproxy wrk=wrk curl=curl promtool=prometheus redis-server=redis-server memcached=memcached \
		nginx-stream=libnginx-mod-stream postgres=postgresql dig=bind9-dnsutils unbound=unbound openssl=openssl \
		goaccess=goaccess halog=haproxy h2load=nghttp2-client rsyslogd=rsyslog \
		chromium=chromium debootstrap=debootstrap lintian=lintian man=man-db systemd-socket-activate=systemd \
		systemd-nspawn=systemd-container buildah=buildah podman=podman zsh=zsh fish=fish
	@$(PY) -c "import playwright, openapi_spec_validator" 2>/dev/null || $(PY) -m pip install -q --disable-pip-version-check \
		$$($(PY) -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['acceptance'])") </dev/null
	$(PYTEST) --timeout 900 -x tests/acceptance/accept_*.py

package-test: env ## pip install, pip install -e, sdist and wheel into empty environments (slow: they compile)
	$(PYTEST) --timeout 900 tests/packaging/install.py

bench: build ## proxyd beside nginx and HAProxy; BENCH="--quick" passes options on
	@$(NEED) nginx=nginx haproxy=haproxy wrk=wrk varnishd=varnish
	$(PY) bench/run.py $(BENCH)

sdist: env ## dist/proxyd-*.tar.gz
	$(PY) -m pip install -q --disable-pip-version-check build </dev/null
	$(PY) -m build --sdist

wheel: env ## dist/proxyd-*.whl
	$(PY) -m pip wheel -q --disable-pip-version-check --no-deps -w dist . </dev/null

deb: build ## dist/proxyd_*.deb for Debian 12, with its libraries; needs dpkg-deb, no root
	@$(NEED) dpkg-deb=dpkg strip=binutils
	@$(PY) tests/packaging/deb.py

man: build ## build/proxyd.1, the man page: `man -l build/proxyd.1`
	@$(PY) -m proxyd.cli.manpage > build/proxyd.1 && echo build/proxyd.1

clean: ## remove what was built; .venv and the fuzz corpus stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find ext -name '*.so' -delete
	find proxyd ext tests bench -name __pycache__ -type d -exec rm -rf {} +
