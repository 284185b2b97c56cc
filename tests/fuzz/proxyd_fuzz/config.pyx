"""The config loader: no text raises, every finding can be shown, and the canonical form of what loads means the same.

The loader is Python, so its edges are counted here: a trace function adds one to libFuzzer's extra counters for each line reached by each
function of proxyd and PyYAML, hashed by both.
"""
import os
import sys
import tempfile

from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t, uint32_t, uintptr_t

import traceback

from proxyd.config import load_text
from proxyd.config.canonical import canonical_text
from proxyd.diagnostics.render import render_all, render_json

cdef extern from *:
    """
    extern unsigned char proxyd_fuzz_counters[1 << 16];   /* main.c */
    """
    uint8_t[65536] proxyd_fuzz_counters

cdef extern from "Python.h":
    ctypedef struct PyCodeObject
    ctypedef struct PyFrameObject
    ctypedef int (*Py_tracefunc)(PyObject* self, PyFrameObject* frame, int what, PyObject* argument) noexcept
    void PyEval_SetTrace(Py_tracefunc function, PyObject* self)
    PyCodeObject* PyFrame_GetCode(PyFrameObject* frame)
    int PyFrame_GetLineNumber(PyFrameObject* frame)
    void Py_DECREF(PyCodeObject* code)
    enum:
        PyTrace_LINE

# A text may name files (`include`, `${file:}`): none is found here, and devices that never end are left out below.
os.chdir(tempfile.mkdtemp(prefix="proxyd-fuzz-"))


cdef int on_event(PyObject* self, PyFrameObject* frame, int what, PyObject* argument) noexcept:
    cdef PyCodeObject* code
    cdef uint32_t at
    if what == PyTrace_LINE:
        code = PyFrame_GetCode(frame)
        at = <uint32_t>(<uintptr_t>code >> 4) * 0x9E3779B1u ^ <uint32_t>PyFrame_GetLineNumber(frame) * 0x85EBCA6Bu
        Py_DECREF(code)
        at ^= at >> 16
        if proxyd_fuzz_counters[at & 0xFFFF] < 255:
            proxyd_fuzz_counters[at & 0xFFFF] += 1
    return 0


cdef object check(str text):
    result = load_text(text, env={"HOME": "/home/someone"})
    if result.config is None:
        assert result.errors, "refused without a word"
    render_all(result.diagnostics)
    render_json(result.diagnostics)
    if result.config is not None:
        again = canonical_text(result.config, secrets=True)
        reloaded = load_text(again, env={})
        assert reloaded.config == result.config, f"the canonical form means something else:\n{again}\n{render_all(reloaded.diagnostics)}"


cdef int one_input_c(const uint8_t* data, size_t size) noexcept:
    text = (<bytes>data[:size]).decode("utf-8", "replace")
    if "/dev" in text or "/proc" in text:
        return 0
    PyEval_SetTrace(on_event, NULL)
    try:
        check(text)
    except BaseException:
        PyEval_SetTrace(NULL, NULL)
        traceback.print_exc()
        sys.stderr.flush()
        os.abort()
    PyEval_SetTrace(NULL, NULL)
    return 0


one_input = PyCapsule_New(<void*>one_input_c, "proxyd_fuzz.one_input", NULL)
