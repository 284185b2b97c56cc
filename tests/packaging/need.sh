#!/bin/sh
# Makes sure that system packages are there: need.sh PROBE=PACKAGE…
#
# A PROBE is a command, or one of the words of have() below. What is missing is installed when this runs as root on a machine
# with apt; else the one command that installs it is printed and the exit code is 1.
set -eu

have() {
    case "$1" in
        libc-headers) printf '#include <stdio.h>\n#include <pthread.h>\n' | "${CC:-gcc}" -E - >/dev/null 2>&1 ;;
        python-headers) "$PYTHON" -c 'import os, sysconfig as s; os.stat(s.get_path("include") + "/Python.h")' 2>/dev/null ;;
        python-venv) "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ;;
        python-3.11) [ -n "${PYTHON:-}" ] ;;
        libfuzzer) echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | clang -fsanitize=fuzzer,address -x c - -o /dev/null 2>/dev/null ;;
        nginx-stream) [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] ;;
        postgres) ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 ;;
        lib*.so) [ -e "$("${CC:-gcc}" -print-file-name="$1")" ] ;;
        *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

packages=
for pair in "$@"; do
    have "${pair%%=*}" || packages="$packages ${pair#*=}"
done
[ -n "$packages" ] || exit 0

echo "missing system packages:$packages" >&2
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing them (apt-get, as root)" >&2
    apt-get update -qq </dev/null
    # shellcheck disable=SC2086  # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages </dev/null >/dev/null
else
    echo "install them with: sudo apt-get install -y$packages" >&2
    exit 1
fi
