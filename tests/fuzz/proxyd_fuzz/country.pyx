"""Databases of countries, whole, cut and broken: loaded or refused with a ValueError, and then every look-up ends, and in the tree.

An input is a database.
"""
import os
import sys
import tempfile
import traceback

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t

from proxyd_ext.filter.country import Countries

_path = os.path.join(tempfile.mkdtemp(prefix="proxyd-fuzz-"), "countries.mmdb")
_addresses = (
    "0.0.0.0", "10.0.0.1", "10.1.2.3", "127.255.255.255", "128.0.0.0", "192.0.2.1", "255.255.255.255", "::", "::1", "::ffff:10.0.0.1",
    "2001:db8::1", "2001:db8:8000::", "2002:a00:1::", "8000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "nothing",
)


cdef object check(bytes content):
    with open(_path, "wb") as file:
        file.write(content)
    try:
        countries = Countries(_path)
    except ValueError as error:
        assert str(error), "refused without a word"
        return
    for address in _addresses:
        found = countries.country(address)
        assert found == "" or found in countries.codes, f"{address} is in {found!r}"


cdef int one_input_c(const uint8_t* data, size_t size) noexcept:
    try:
        check(<bytes>data[:size])
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os.abort()
    return 0


one_input = PyCapsule_New(<void*>one_input_c, "proxyd_fuzz.one_input", NULL)
