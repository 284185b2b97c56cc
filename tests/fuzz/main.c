/* libFuzzer's side of every target: a Python interpreter is embedded only to import the harness module, whose capsule `one_input`
 * is then called straight from C, so that the fuzzer's feedback is the native code's own edges.
 *
 * Why not atheris: it instruments Python code, and calls a native target through Python objects at a tenth of the speed.
 *
 * FUZZ_PYTHON names the interpreter whose environment is used, FUZZ_TARGET the module.
 */
#include <Python.h>
#include <stdint.h>

/* Edges of Python code, for targets written in it (see config.pyx): libFuzzer reads this section as it reads its own counters. */
__attribute__((section("__libfuzzer_extra_counters"), used)) uint8_t proxyd_fuzz_counters[1 << 16];

typedef int (*one_input)(const uint8_t *data, size_t size);
static one_input run;

static void fail(void) {
    PyErr_Print();
    exit(1);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    PyConfig config;
    PyObject *module, *capsule;
    (void)argc, (void)argv;
    PyConfig_InitPythonConfig(&config);
    config.parse_argv = 0;
    if (PyStatus_Exception(PyConfig_SetBytesString(&config, &config.program_name, getenv("FUZZ_PYTHON"))) ||
        PyStatus_Exception(Py_InitializeFromConfig(&config)))
        exit(1);
    PyConfig_Clear(&config);
    if (!(module = PyImport_ImportModule(getenv("FUZZ_TARGET"))) || !(capsule = PyObject_GetAttrString(module, "one_input")))
        fail();
    if (!(run = (one_input)PyCapsule_GetPointer(capsule, "proxyd_fuzz.one_input")))
        fail();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return run(data, size);
}
